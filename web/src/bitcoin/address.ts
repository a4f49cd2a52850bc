import { secp256k1 } from "@noble/curves/secp256k1";
import { ripemd160 } from "@noble/hashes/legacy";
import { sha256 } from "@noble/hashes/sha2";
import { bytesOf, concat } from "../bytes";
import { encodeCheck, VERSION_P2PKH, VERSION_WIF } from "./base58";

export function hash160(publicKey: Uint8Array): Uint8Array {
  return ripemd160(sha256(publicKey));
}

/** P2PKH address of a hash160. */
export function addressOf(hash: Uint8Array): string {
  return encodeCheck(concat(Uint8Array.of(VERSION_P2PKH), hash));
}

export function publicKeyOf(privateKey: bigint): Uint8Array {
  return secp256k1.getPublicKey(bytesOf(privateKey, 32), true);
}

export function addressOfPrivateKey(privateKey: bigint): string {
  return addressOf(hash160(publicKeyOf(privateKey)));
}

/** Wallet import format, marked as the key of a compressed public key. */
export function wifOf(privateKey: bigint): string {
  return encodeCheck(concat(Uint8Array.of(VERSION_WIF), bytesOf(privateKey, 32), Uint8Array.of(0x01)));
}
