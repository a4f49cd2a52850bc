/** Against vectors made by other programs: the search's own (Python) and the contracts' (JavaScript). */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { addressOfPrivateKey, publicKeyOf, wifOf } from "../../src/bitcoin/address";
import { rangesOfPrefix } from "../../src/bitcoin/prefix";
import { widthOf } from "../../src/bitcoin/ranges";
import { bytesOf, fromHex, numberOf, toHex } from "../../src/bytes";
import { unpackParams } from "../../src/vanity/params";
import { combine, hashOfImage, offsetOf, packResult, pointOf, unpackResult } from "../../src/vanity/result";

const search = new URL("../../../apps/vanity/tests/vectors/vectors.json", import.meta.url);
const contracts = new URL("../../../contracts/test/vectors/vanity.json", import.meta.url);

const parse = (file: URL) => JSON.parse(readFileSync(file, "utf8"));
const key = (hex: string) => numberOf(fromHex(hex));

describe.skipIf(!existsSync(search))("vectors of the search", () => {
  const { keys, prefixes, splits } = existsSync(search) ? parse(search) : { keys: [], prefixes: [], splits: [] };

  it("keys have these addresses", () => {
    expect(keys.length).toBeGreaterThan(10);
    for (const { secret, wif, public_key, p2pkh } of keys) {
      expect(wifOf(key(secret))).toBe(wif);
      expect(toHex(publicKeyOf(key(secret)))).toBe(`0x${public_key}`);
      expect(addressOfPrivateKey(key(secret))).toBe(p2pkh);
    }
  });

  it("prefixes have this many numbers, up to one hash at each edge", () => {
    expect(prefixes.length).toBeGreaterThan(100);
    for (const { prefix, numbers } of prefixes.filter((each: { prefix: string }) => each.prefix.startsWith("1"))) {
      const ranges = rangesOfPrefix(prefix);
      const difference = (widthOf(ranges) << 32n) - BigInt(numbers);
      const most = BigInt(2 * Math.max(1, ranges.length)) << 32n;
      expect(difference <= most && difference >= -most, `${prefix}: ${difference}`).toBe(true);
    }
  });

  it("split keys combine to these", () => {
    expect(splits.length).toBeGreaterThan(10);
    for (const each of splits) {
      const hash = key(each.hash160);
      const params = { publicKey: fromHex(each.public_key), ranges: [{ lo: hash, hi: hash }] };
      const order = fromHex(each.order);
      const answer = unpackResult(fromHex(each.solution));
      expect(answer).toMatchObject({ worker: fromHex(each.worker), index: BigInt(each.index), image: each.image });
      const made = combine(order, params, key(each.secret), answer);
      expect(toHex(bytesOf(made.privateKey, 32))).toBe(`0x${each.key}`);
      expect(toHex(bytesOf(made.offset, 32))).toBe(`0x${each.offset}`);
    }
  });
});

describe.skipIf(!existsSync(contracts))("vectors of the contracts", () => {
  const { vectors } = existsSync(contracts) ? parse(contracts) : { vectors: [] };

  it("results are packed and combined alike", () => {
    expect(vectors.length).toBeGreaterThan(10);
    for (const each of vectors) {
      const params = unpackParams(fromHex(each.params));
      const order = fromHex(each.order);
      const result = unpackResult(fromHex(each.result));
      expect(toHex(packResult(result))).toBe(each.result);
      const offset = offsetOf(order, result.worker, result.index);
      expect(pointOf(params.publicKey, offset)).toEqual(result.q);
      expect(toHex(hashOfImage(result.q, result.image >> 1, result.image % 2 === 1))).toBe(each.hash160);
      const made = combine(order, params, key(each.secret), result);
      expect(made.address).toBe(each.address);
      expect(made.privateKey).toBe(key(each.privateKey));
      expect(made.offset).toBe(key(each.offset));
    }
  });
});
