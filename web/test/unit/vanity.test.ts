import { secp256k1 } from "@noble/curves/secp256k1";
import { describe, expect, it } from "vitest";
import { addressOf, addressOfPrivateKey, publicKeyOf, wifOf } from "../../src/bitcoin/address";
import { rangesOfPrefix } from "../../src/bitcoin/prefix";
import { contains } from "../../src/bitcoin/ranges";
import { fromHex, numberOf, toHex } from "../../src/bytes";
import { packParams, unpackParams } from "../../src/vanity/params";
import {
  type Answer,
  combine,
  combineNear,
  hashOfImage,
  offsetOf,
  packResult,
  pointOf,
  ResultMismatch,
  unpackAnswer,
  unpackResult,
} from "../../src/vanity/result";
import { importedBy } from "../independent.mjs";
import { random } from "./random";

const next = random("vanity");
const halfKey = numberOf(next(32));
const publicKey = publicKeyOf(halfKey);
const ranges = rangesOfPrefix("1a")
  .concat(rangesOfPrefix("1Q"))
  .sort((a, b) => (a.lo < b.lo ? -1 : 1));
const params = { publicKey, ranges };
const order = next(32);
const worker = next(20);

/** All answers among the first candidates: each image of each point that falls into the ranges. */
function answers(candidates: number) {
  return Array.from({ length: candidates }, (_, index) => index).flatMap((index) => {
    const q = pointOf(publicKey, offsetOf(order, worker, BigInt(index)));
    const images = [0, 1, 2, 3, 4, 5].filter((image) =>
      contains(ranges, numberOf(hashOfImage(q, image >> 1, image % 2 === 1))),
    );
    return images.map((image) => ({ worker, index: BigInt(index), image, q }));
  });
}

describe("params", () => {
  it("are the key and the edges of the ranges", () => {
    const packed = packParams({ publicKey, ranges: [{ lo: 1n, hi: 2n }] });
    expect(toHex(packed)).toBe(`${toHex(publicKey)}${"0".repeat(39)}1${"0".repeat(39)}2`);
  });

  it("unpack to what was packed", () => {
    expect(unpackParams(packParams(params))).toEqual(params);
  });

  it("are refused when they are not what a contract takes", () => {
    const packed = packParams(params);
    expect(() => unpackParams(packed.slice(1))).toThrow(RangeError);
    expect(() => unpackParams(packed.slice(0, 33))).toThrow(RangeError);
    expect(() => unpackParams(Uint8Array.of(5, ...packed.slice(1)))).toThrow();
    expect(() => unpackParams(packParams({ publicKey, ranges: [...ranges].reverse() }))).toThrow(/sorted/);
    expect(() => packParams({ publicKey, ranges: [] })).toThrow(RangeError);
    expect(() => packParams({ publicKey, ranges: Array(33).fill({ lo: 1n, hi: 2n }) })).toThrow(RangeError);
    expect(() => packParams({ publicKey: publicKey.slice(1), ranges })).toThrow(RangeError);
  });
});

describe("result", () => {
  it("has 93 bytes: worker, index, image, Q", () => {
    const q = pointOf(publicKey, 7n);
    const packed = packResult({ worker, index: 258n, image: 5, q });
    expect(packed).toHaveLength(93);
    expect(toHex(packed.slice(20, 29))).toBe("0x000000000000010205");
    expect(unpackResult(packed)).toEqual({ worker, index: 258n, image: 5, q });
    expect(() => unpackResult(packed.slice(1))).toThrow(RangeError);
  });

  it("offset is bound to order and worker", () => {
    const offset = offsetOf(order, worker, 5n);
    expect(offsetOf(order, worker, 6n)).toBe(offset + 1n);
    expect(offsetOf(next(32), worker, 5n)).not.toBe(offset);
    expect(offsetOf(order, next(20), 5n)).not.toBe(offset);
  });
});

describe("combine", () => {
  const found = answers(400);

  it("meets all six images in this test", () => {
    expect(new Set(found.map(({ image }) => image))).toEqual(new Set([0, 1, 2, 3, 4, 5]));
  });

  it("makes the key of the address that was searched", () => {
    for (const answer of found) {
      const { privateKey, address, offset } = combine(order, params, halfKey, answer);
      expect(addressOfPrivateKey(privateKey)).toBe(address);
      expect(address).toMatch(/^1[aQ]/);
      expect(offset).toBe(offsetOf(order, worker, answer.index));
    }
  });

  it("refuses what was not ordered, another key, and images that do not exist", () => {
    const answer = found[0]!;
    const wrong = [0n, 1n, 2n, 3n, 4n, 5n].map((index) => ({ ...answer, index: 100_000n + index }));
    for (const each of wrong) expect(() => combine(order, params, halfKey, each)).toThrow(ResultMismatch);
    expect(() => combine(order, params, halfKey + 1n, answer)).toThrow(/not the one that the order was made with/);
    expect(() => combine(order, params, halfKey, { ...answer, image: 6 })).toThrow(/image/);
    expect(() => combine(next(32), params, halfKey, answer)).toThrow(ResultMismatch);
  });

  it("refuses the image with the other sign", () => {
    const alone = found.find(
      (answer) => !found.some((f) => f.index === answer.index && f.image === (answer.image ^ 1)),
    )!;
    expect(() => combine(order, params, halfKey, { ...alone, image: alone.image ^ 1 })).toThrow(/not what was ordered/);
  });
});

describe("a near miss", () => {
  const found = answers(100);

  it("is how a result begins", () => {
    for (const answer of found) {
      const { worker, index, image } = answer;
      expect(unpackAnswer(packResult(answer).slice(0, 29))).toEqual({ worker, index, image });
    }
    expect(() => unpackAnswer(packResult(found[0]!))).toThrow(RangeError);
  });

  it("gives its key, wherever its address lies", () => {
    for (const image of [0, 1, 2, 3, 4, 5]) {
      const answer = { worker, index: 2n ** 64n - 1n, image };
      const q = pointOf(publicKey, offsetOf(order, worker, answer.index));
      const shown = addressOf(hashOfImage(q, image >> 1, image % 2 === 1));
      expect(importedBy(wifOf(combineNear(order, publicKey, halfKey, answer, shown).privateKey))).toBe(shown);
    }
  });

  it("is refused when its address is not the one that was shown, and with another half", () => {
    const answer = found[0]!;
    const { address } = combine(order, params, halfKey, answer);
    const near = (half: bigint, change: Partial<Answer>) =>
      combineNear(order, publicKey, half, { ...answer, ...change }, address);
    expect(near(halfKey, {}).address).toBe(address);
    expect(() => near(halfKey, { index: answer.index + 1n })).toThrow(/The pool has shown 1/);
    expect(() => near(halfKey, { image: answer.image ^ 1 })).toThrow(/The pool has shown 1/);
    expect(() => near(halfKey, { image: 6 })).toThrow(/image/);
    expect(() => near(halfKey + 1n, {})).toThrow(/not the one that the order was made with/);
  });
});

describe("another wallet's import", () => {
  it.each([1n, 2n, 2n ** 128n, secp256k1.CURVE.n - 1n, ...Array.from({ length: 30 }, () => numberOf(next(32)))])(
    "takes the key %#",
    (privateKey) => expect(importedBy(wifOf(privateKey))).toBe(addressOfPrivateKey(privateKey)),
  );

  it("refuses a key with a wrong letter", () => {
    const wif = wifOf(7n);
    expect(() => importedBy(`${wif.slice(0, -1)}${wif.endsWith("1") ? "2" : "1"}`)).toThrow(/checksum/i);
  });
});

describe("known keys", () => {
  it("1 and n−1 have the addresses and WIF that everybody knows", () => {
    expect(addressOfPrivateKey(1n)).toBe("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH");
    expect(wifOf(1n)).toBe("KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn");
    expect(addressOfPrivateKey(secp256k1.CURVE.n - 1n)).toBe("1GrLCmVQXoyJXaPJQdqssNqwxvha1eUo2E");
    expect(wifOf(numberOf(fromHex("0c28fca386c7a227600b2fe50b7cae11ec86d3bf1fbe471be89827e19d72aa1d")))).toBe(
      "KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617",
    );
  });
});
