/** The test's own derivations, sharing no code with the page. */
import { secp256k1 } from "@noble/curves/secp256k1";
import { ripemd160 } from "@noble/hashes/legacy";
import { sha256 } from "@noble/hashes/sha2";
import { parseAbi } from "viem";

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

function decodeBase58(text) {
  const value = [...text].reduce((sum, character) => sum * 58n + BigInt(ALPHABET.indexOf(character)), 0n);
  return Buffer.from(value.toString(16).padStart(2 * 38, "0"), "hex");
}

function encodeBase58(bytes) {
  let value = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  for (; value > 0n; value /= 58n) text = ALPHABET[Number(value % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros) + text;
}

const checksum = (bytes) => sha256(sha256(bytes)).slice(0, 4);

export function addressOfWif(wif) {
  const bytes = decodeBase58(wif);
  const [payload, check] = [bytes.subarray(0, 34), bytes.subarray(34)];
  if (payload[0] !== 0x80 || payload[33] !== 1 || !Buffer.from(checksum(payload)).equals(check))
    throw new Error("not a WIF");
  const hash = Buffer.concat([Buffer.of(0), ripemd160(sha256(secp256k1.getPublicKey(payload.subarray(1, 33), true)))]);
  return encodeBase58(Buffer.concat([hash, checksum(hash)]));
}

/** Price of a pattern as the page shows it: ranges without the exact edges are near enough for a price. */
export async function quoteOf(chain, { shop }, pattern) {
  const abi = parseAbi(["function quote(bytes) view returns (uint64, uint256)"]);
  const edges = [];
  for (let length = pattern.length; length <= 34; length++) {
    const digits = [...pattern.slice(1)].reduce(
      (sum, character) => sum * 58n + BigInt(ALPHABET.indexOf(character)),
      0n,
    );
    const scale = 58n ** BigInt(length - pattern.length);
    const lo = (digits * scale) >> 32n;
    const hi = ((digits + 1n) * scale - 1n) >> 32n;
    const [from, to] = [lo > 1n << 152n ? lo : 1n << 152n, hi < 1n << 160n ? hi : (1n << 160n) - 1n];
    if (from <= to) edges.push([from, to]);
  }
  const hex = (value) => value.toString(16).padStart(40, "0");
  const generator = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
  const params = `0x${generator}${edges.map(([lo, hi]) => hex(lo) + hex(hi)).join("")}`;
  const [, price] = await chain.readContract({ address: shop, abi, functionName: "quote", args: [params] });
  return `${(Number(price) / 1e9).toString()}\u00a0RLC`;
}
