/** The requester's half of the key: made from the browser's own randomness, saved as a file, never sent. */
import { secp256k1 } from "@noble/curves/secp256k1";
import { publicKeyOf, wifOf } from "./bitcoin/address";
import { fromHex, type Hex, numberOf, toHex } from "./bytes";
import type { Search } from "./keep";

/** 256 bits of the operating system's randomness, uniform below the group's order. */
export function makeHalfKey(): { halfKey: Hex; publicKey: Hex } {
  const halfKey = secp256k1.utils.randomPrivateKey();
  return { halfKey: toHex(halfKey), publicKey: toHex(publicKeyOf(numberOf(halfKey))) };
}

/** The key on a line of its own below comments, so that years later the file still says what it is. */
export function halfKeyFile({ halfKey, publicKey, createdAt, pattern }: Search): string {
  const lines = [
    "# Half of a Bitcoin private key, made for a gristmill order. Keep it secret, and keep it.",
    "# Alone it is worthless; with the public answer of the order it becomes the key of the ordered address.",
    `# pattern:     ${pattern || "not chosen yet"}`,
    `# public half: ${publicKey}`,
    `# made:        ${new Date(createdAt).toISOString()}`,
    halfKey,
  ];
  return `${lines.join("\n")}\n`;
}

export function halfKeyName({ pattern, publicKey }: Pick<Search, "pattern" | "publicKey">): string {
  return `half-key-${pattern || "gristmill"}-${publicKey.slice(4, 12)}.txt`;
}

/** Takes a file of ours, or the bare 64 hexadecimal digits. */
export function readHalfKey(text: string): { halfKey: Hex; publicKey: Hex } {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const digits = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (digits.length !== 1 || !/^(0x)?[0-9a-f]{64}$/i.test(digits[0] ?? "")) {
    throw new TypeError("It does not hold one key of 64 hexadecimal digits.");
  }
  const bytes = fromHex(digits[0] ?? "");
  if (!secp256k1.utils.isValidPrivateKey(bytes)) throw new TypeError("Its number is not a valid private key.");
  return { halfKey: toHex(bytes), publicKey: toHex(publicKeyOf(numberOf(bytes))) };
}

/** What is true of all keys that come from one half. */
export const SHARED_HALF =
  "Its key comes from the same half as the key of the address you ordered: whoever learns one of them can compute the other.";

export function nearMissFile(beginning: string, address: string, privateKey: bigint, order: Hex): string {
  return `${finishedKeyFile(beginning, address, privateKey, order)}\n${SHARED_HALF}\n`;
}

export function finishedKeyFile(pattern: string, address: string, privateKey: bigint, order: Hex): string {
  const lines = [
    `Bitcoin address that starts with ${pattern}`,
    "",
    `address:      ${address}`,
    `private key:  ${wifOf(privateKey)}`,
    "",
    "Type: P2PKH, compressed public key. Whoever has the private key has the coins: keep this file secret,",
    "and import or sweep the key in a Bitcoin wallet of your choice.",
    `Order: ${order}`,
  ];
  return `${lines.join("\n")}\n`;
}
