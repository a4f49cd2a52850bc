/**
 * Judges that share no code with the page: a wallet library whose curve is Bitcoin Core's libsecp256k1, and OpenSSL.
 */
import assert from "node:assert/strict";
import { createECDH, createHash } from "node:crypto";
import { address as addresses, payments, Psbt, Transaction } from "bitcoinjs-lib";
import { ECPairFactory } from "ecpair";
import * as secp256k1 from "tiny-secp256k1";
import { parseAbi } from "viem";

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const ECPair = ECPairFactory(secp256k1);

/** Imports a key as a wallet does, sees that it can spend what its address holds, and gives that address. */
export function importedBy(wif) {
  const key = ECPair.fromWIF(wif);
  const { address, hash } = payments.p2pkh({ pubkey: key.publicKey });
  assert.deepEqual(Buffer.from(hash), hashByOpenSsl(key.privateKey));
  spend(key, address);
  return address;
}

/** The library takes its hashes from where the page does, so this one does not. */
function hashByOpenSsl(privateKey) {
  const curve = createECDH("secp256k1");
  curve.setPrivateKey(privateKey);
  const hash = (name, bytes) => createHash(name).update(bytes).digest();
  return hash("ripemd160", hash("sha256", curve.getPublicKey(null, "compressed")));
}

/** Signs for a coin at this address, and has the signature judged against the coin's script. */
function spend(key, address) {
  const coin = new Transaction();
  coin.addInput(new Uint8Array(32), 0);
  coin.addOutput(addresses.toOutputScript(address), 10_000n);
  const spending = new Psbt()
    .addInput({ hash: coin.getId(), index: 0, nonWitnessUtxo: coin.toBuffer() })
    .addOutput({ address, value: 9_000n })
    .signInput(0, key);
  assert.ok(
    spending.validateSignaturesOfInput(0, (publicKey, hash, signed) => secp256k1.verify(hash, publicKey, signed)),
  );
  spending.finalizeAllInputs();
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
