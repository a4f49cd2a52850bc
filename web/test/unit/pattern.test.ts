import { describe, expect, it } from "vitest";
import { addressOf } from "../../src/bitcoin/address";
import { ALPHABET } from "../../src/bitcoin/base58";
import { beginningOf, nearestTo, parsePattern, type Pattern, withinReach } from "../../src/bitcoin/pattern";
import { prefixOfRanges, rangesOfPrefix } from "../../src/bitcoin/prefix";
import { contains, HASHES, type Range, union, widthOf } from "../../src/bitcoin/ranges";
import { bytesOf, numberOf } from "../../src/bytes";
import { random } from "./random";

function possible(text: string): Pattern {
  const pattern = parsePattern(text);
  if (pattern.kind !== "possible") throw new Error(`${text} should be possible: ${JSON.stringify(pattern)}`);
  return pattern;
}

function addressAt(hash: bigint): string {
  return addressOf(bytesOf(hash, 20));
}

/** The edges of each range, seen from the other side: by writing addresses out. */
function expectExactEdges(prefix: string, ranges: Range[]) {
  for (const { lo, hi } of ranges) {
    expect(addressAt(lo)).toSatisfy((address: string) => address.startsWith(prefix));
    expect(addressAt(hi)).toSatisfy((address: string) => address.startsWith(prefix));
    if (lo > 0n) expect(addressAt(lo - 1n).startsWith(prefix)).toBe(false);
    if (hi < HASHES - 1n) expect(addressAt(hi + 1n).startsWith(prefix)).toBe(false);
  }
}

describe("difficulty", () => {
  it.each([
    ["1LoVE", 4_476_342.8, 1],
    ["1QLbz", 36_188_224.7, 1],
    ["1RTest", 15_318_045_009, 0],
    ["111", 65_536, 1],
    ["1Bitcoin", 873_388_193_411, 0],
    ["12", 23.34, 2],
    ["16", 23.05, 2],
    ["17", 22.94, 2],
    ["1Q", 65.7, 1],
    ["1R", 1_353.6, 1],
    ["1z", 1_353.6, 1],
    ["11", 256, 1],
  ])("of %s is %d", (text, difficulty, digits) => {
    expect(possible(text).difficulty.toFixed(digits)).toBe(difficulty.toFixed(digits));
  });

  it("of all second characters adds up to certainty", () => {
    const widths = [...ALPHABET].map((character) => widthOf(rangesOfPrefix(`1${character}`)));
    expect(widths.reduce((sum, width) => sum + width)).toBe(HASHES);
  });
});

describe("ranges", () => {
  it("cover the 33 and the 34 character form", () => {
    expect(possible("1RTest").ranges).toHaveLength(1);
    expect(possible("1LoVE").ranges).toHaveLength(2);
  });

  it.each(["1LoVE", "1QLbz", "1RTest", "111", "1111Q", "1Bitcoin", "12", "1z", "1QLbz6KJnt", "1Q", "1R"])(
    "of %s end exactly where the addresses do",
    (prefix) => expectExactEdges(prefix, rangesOfPrefix(prefix)),
  );

  it("of the beginnings of any address contain it, and end exactly", () => {
    const next = random("ranges");
    for (let round = 0; round < 60; round++) {
      const shift = BigInt(round % 4) * 8n;
      const hash = numberOf(next(20)) >> shift;
      const address = addressAt(hash);
      for (const length of [2, 3, 5, 8, 20, address.length - 2, address.length - 1, address.length]) {
        const ranges = rangesOfPrefix(address.slice(0, length));
        expect(contains(ranges, hash), `${address} ${length}`).toBe(true);
        expectExactEdges(address.slice(0, length), ranges);
      }
    }
  });

  it("of a whole address are that address", () => {
    const hash = 0x62e907b15cbf27d5425399ebf6f0fb50ebb88f18n;
    expect(addressAt(hash)).toBe("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa");
    expect(rangesOfPrefix("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")).toEqual([{ lo: hash, hi: hash }]);
    expect(rangesOfPrefix("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb")).toEqual([]);
  });

  it("of the smallest hash are its 21 ones, and no more ones exist", () => {
    expect(addressAt(0n)).toBe("1111111111111111111114oLvT2");
    expect(rangesOfPrefix("1".repeat(21))).toEqual([{ lo: 0n, hi: 0n }]);
    expect(rangesOfPrefix("1111111111111111111114oLvT2")).toEqual([{ lo: 0n, hi: 0n }]);
    expect(rangesOfPrefix("1".repeat(22))).toEqual([]);
    expect(rangesOfPrefix("1".repeat(60))).toEqual([]);
  });

  it.each(["1LoVE", "1QLbz", "1RTest", "111", "12", "1", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"])(
    "of %s tell their prefix",
    (prefix) => expect(prefixOfRanges(rangesOfPrefix(prefix))).toBe(prefix),
  );

  it("join when they touch or overlap", () => {
    expect(
      union([
        { lo: 5n, hi: 9n },
        { lo: 1n, hi: 4n },
        { lo: 11n, hi: 12n },
        { lo: 2n, hi: 3n },
      ]),
    ).toEqual([
      { lo: 1n, hi: 9n },
      { lo: 11n, hi: 12n },
    ]);
  });
});

describe("an impossible pattern is refused with the nearest possible one", () => {
  it.each([
    ["1Hello", /^Character 4 is “l”/, "1HeLLo"],
    ["1OK", /^Character 2 is “O”/, "1oK"],
    ["1I0l", /^Character 2 is “I”/, "1ioL"],
    ["Love", /starts with 1/, "1Love"],
    ["3Love", /start with 3 are of another kind/, "1Love"],
    ["bc1qlove", /start with bc1/, "1Love"],
    ["1Zoë", /^Character 4 is “ë”/, "1Zoe"],
    ["1a b", /^Character 3 is “ ”/, "1ab"],
    ["1".repeat(22), /no address goes further than “1{21}”/, `${"1".repeat(21)}4`],
  ])("%s", (text, reason, nearest) => {
    const refused = parsePattern(text);
    expect(refused.kind).toBe("impossible");
    if (refused.kind !== "impossible") return;
    expect(refused.reason).toMatch(reason);
    expect(refused.nearest).toBe(nearest);
    expect(parsePattern(refused.nearest ?? "").kind).toBe("possible");
  });

  it("even when longer than any address", () => {
    const refused = parsePattern(`1${"a".repeat(80)}`);
    expect(refused).toMatchObject({ kind: "impossible", reason: "It is longer than any address." });
  });

  it("and nearest suggestions are always possible", () => {
    const next = random("nearest");
    for (let round = 0; round < 40; round++) {
      const text = String.fromCharCode(...next(1 + (round % 12)).map((byte) => 33 + (byte % 93)));
      const nearest = nearestTo(text);
      if (nearest !== null) expect(parsePattern(nearest).kind, `${text} → ${nearest}`).toBe("possible");
    }
  });
});

it("nothing typed is no error", () => {
  expect(parsePattern("  ").kind).toBe("unfinished");
  expect(parsePattern("1").kind).toBe("unfinished");
});

describe("within reach", () => {
  it("is the longest beginning with even odds", () => {
    const { difficulty } = possible("1LoVE");
    expect(withinReach("1LoVErs", difficulty * 0.7)?.text).toBe("1LoVE");
    expect(withinReach("1LoVErs", difficulty * 0.69)?.text).toBe("1LoV");
    expect(withinReach("1LoVE", difficulty)?.text).toBe("1LoVE");
  });

  it("is nothing for a pool that does nothing", () => expect(withinReach("1LoVE", 0)).toBeNull());
});

it.each([
  ["1LoVExyz", "1LoVErs", "1LoVEx"],
  ["1LoVErsx", "1LoVErs", "1LoVErsx"],
  ["1QxVExyz", "1LoVErs", "1Q"],
])("%s of %s begins with %s", (address, pattern, beginning) => expect(beginningOf(address, pattern)).toBe(beginning));
