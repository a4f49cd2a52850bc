import { sha256 } from "@noble/hashes/sha2";

/** Bytes that depend on the seed alone. */
export function random(seed: string): (length: number) => Uint8Array {
  let state = sha256(new TextEncoder().encode(seed));
  return (length) => {
    const bytes: number[] = [];
    while (bytes.length < length) {
      state = sha256(state);
      bytes.push(...state.subarray(0, 16));
    }
    return Uint8Array.from(bytes.slice(0, length));
  };
}
