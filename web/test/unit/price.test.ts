import { describe, expect, it } from "vitest";
import { rangesOfPrefix } from "../../src/bitcoin/prefix";
import { priceOf } from "../../src/price";

const tariff = { unitPrice: 3n, unitCandidates: 1_000_000n, minUnits: 2n };

describe("price", () => {
  it("is the expected candidates in units, rounded up", () => {
    expect(priceOf(rangesOfPrefix("1LoVE"), tariff)).toEqual({ units: 5n, price: 15n });
    expect(priceOf(rangesOfPrefix("1LoVE"), { ...tariff, unitCandidates: 4_476_342n })).toEqual({
      units: 2n,
      price: 6n,
    });
    expect(priceOf(rangesOfPrefix("1LoVE"), { ...tariff, unitCandidates: 1n })).toEqual({
      units: 4_476_342n,
      price: 13_429_026n,
    });
  });

  it("has a floor", () => {
    expect(priceOf(rangesOfPrefix("12"), tariff)).toEqual({ units: 2n, price: 6n });
  });

  it("stays exact for what nobody can pay", () => {
    const whole = rangesOfPrefix("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa");
    expect(priceOf(whole, { ...tariff, unitCandidates: 1n }).units).toBe(1n << 160n);
  });
});
