import { describe, expect, it } from "vitest";
import { amount, duration, inWords, percent, rate } from "../../src/format";
import { candidatesFor, chanceFound, secondsFor } from "../../src/odds";

describe("odds", () => {
  it("after as many tries as the difficulty are 1 − 1/e", () => {
    expect(chanceFound(4_476_342.8, 4_476_342.8)).toBeCloseTo(1 - Math.exp(-1), 6);
  });

  it("start at nothing and never reach certainty", () => {
    expect(chanceFound(1000, 0)).toBe(0);
    expect(chanceFound(1000, -5)).toBe(0);
    expect(chanceFound(1000, 30_000)).toBeLessThan(1);
    expect(chanceFound(1, 1)).toBe(1);
  });

  it("stay exact where the difficulty is astronomic", () => {
    expect(chanceFound(1e40, 1e20)).toBeCloseTo(1e-20, 30);
  });

  it("invert to tries and seconds", () => {
    for (const chance of [0.01, 0.5, 0.95]) {
      expect(chanceFound(65_536, candidatesFor(65_536, chance))).toBeCloseTo(chance, 10);
    }
    expect(secondsFor(1e6, 0.5, 1e6)).toBeCloseTo(Math.LN2, 5);
  });
});

describe("format", () => {
  it.each([
    [999, "999"],
    [65_536, "65,536"],
    [4_476_342.8, "4.5\u00a0million"],
    [873_388_193_411, "873.4\u00a0billion"],
    [2.5e21, "2.5\u00a0×\u00a010²¹"],
  ])("%d in words", (value, text) => expect(inWords(value)).toBe(text));

  it.each([
    [0.2, "less than 1\u00a0s"],
    [59.6, "1\u00a0min"],
    [200, "3\u00a0min 20\u00a0s"],
    [7_500, "2\u00a0h 5\u00a0min"],
    [12 * 86_400 + 5, "12\u00a0days"],
    [2.9 * 31_557_600, "2\u00a0years 328\u00a0days"],
    [1e22, "316.9\u00a0trillion years"],
    [Number.POSITIVE_INFINITY, "forever"],
  ])("%d seconds", (seconds, text) => expect(duration(seconds)).toBe(text));

  it.each([
    [0, "0\u00a0%"],
    [0.0002, "under 0.1\u00a0%"],
    [0.634, "63\u00a0%"],
    [0.9996, "over 99.9\u00a0%"],
    [0.0512, "5.1\u00a0%"],
    [1, "100\u00a0%"],
  ])("chance %d", (chance, text) => expect(percent(chance)).toBe(text));

  it("shows amounts without trailing zeros and never rounds up", () => {
    expect(amount(1_250_000_000n, 9, "RLC")).toBe("1.25\u00a0RLC");
    expect(amount(1_000_000_001n, 9, "RLC")).toBe("1.000000001\u00a0RLC");
    expect(amount(999_999_999_999_999_999n, 18, "ETH", 6)).toBe("0.999999\u00a0ETH");
    expect(amount(5_000_000_000_000n, 9, "RLC")).toBe("5,000\u00a0RLC");
  });

  it("shows rates", () => {
    expect(rate(3_210_000)).toBe("3.2\u00a0million keys/s");
    expect(rate(46_213)).toBe("46,200 keys/s");
    expect(rate(950)).toBe("950 keys/s");
  });
});
