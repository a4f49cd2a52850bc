import { sha256 } from "@noble/hashes/sha2";

export const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

export const VERSION_P2PKH = 0x00;
export const VERSION_WIF = 0x80;

/** -1 when the character does not exist in Base58. */
export function digitOf(character: string): number {
  return character.length === 1 ? ALPHABET.indexOf(character) : -1;
}

export function checksum(payload: Uint8Array): Uint8Array {
  return sha256(sha256(payload)).subarray(0, 4);
}

/** Base58 of payload ‖ checksum: a '1' for each leading zero byte, then the number in base 58. */
export function encodeCheck(payload: Uint8Array): string {
  const bytes = new Uint8Array(payload.length + 4);
  bytes.set(payload);
  bytes.set(checksum(payload), payload.length);
  let number = bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  let digits = "";
  for (; number > 0n; number /= 58n) digits = ALPHABET[Number(number % 58n)] + digits;
  const firstNonZero = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(firstNonZero < 0 ? bytes.length : firstNonZero) + digits;
}
