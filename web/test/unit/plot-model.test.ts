import { describe, expect, it } from "vitest";
import { inOneSentence, plotModel, thin, ticksUpTo } from "../../src/plot-model";

const steady = (seconds: number, rate: number) =>
  Array.from({ length: seconds + 1 }, (_, at) => ({ at, done: at * rate }));

describe("plot", () => {
  it("marks 50 % and 95 % where the steady rate reaches them", () => {
    const model = plotModel(1e6, steady(10, 1e4), 1e4);
    expect(model.marks.map(({ chance }) => chance)).toEqual([0.5, 0.95]);
    expect(model.marks[0]!.at).toBeCloseTo(69.3, 1);
    expect(model.marks[1]!.at).toBeCloseTo(299.6, 1);
    expect(model.span).toBeGreaterThan(299.6);
    expect(model.future.at(-1)!.chance).toBeGreaterThan(0.96);
    expect(model.now).toEqual({ at: 10, chance: expect.closeTo(0.0952, 3) });
  });

  it("marks in the past stay where they were when the rate changes", () => {
    const model = plotModel(1e6, steady(100, 1e4), 1);
    expect(model.marks[0]!.at).toBeCloseTo(69.3, 0);
  });

  it("shows no future while the rate is unknown", () => {
    expect(plotModel(1e6, [{ at: 0, done: 0 }], 0)).toMatchObject({ future: [], marks: [] });
  });

  it("never falls", () => {
    const { past, future } = plotModel(1e6, steady(30, 5e4), 5e4);
    const chances = [...past, ...future].map(({ chance }) => chance);
    expect(chances).toEqual(chances.toSorted((a, b) => a - b));
  });

  it.each([
    [4, [0, 1, 2, 3, 4]],
    [50, [0, 10, 20, 30, 40, 50]],
    [4_000, [0, 900, 1800, 2700, 3600]],
    [40 * 86_400, [0, 10, 20, 30, 40].map((days) => days * 86_400)],
  ])("ticks of %d seconds are round", (span, ticks) => expect(ticksUpTo(span)).toEqual(ticks));

  it("keeps the first and the last sample when it drops some", () => {
    const samples = steady(11, 1);
    const fewer = thin(samples, 10);
    expect(fewer.length).toBeLessThan(10);
    expect(fewer[0]).toEqual(samples[0]);
    expect(fewer.at(-1)).toEqual(samples.at(-1));
  });

  it("says the same in a sentence", () => {
    const words = inOneSentence(plotModel(1e6, steady(10, 1e4), 1e4), false).replaceAll("\u00a0", " ");
    expect(words).toBe(
      "After 10 s the chance of having found one is 9.5 %. At the present rate it reaches 50 % after 1 min 9 s and 95 % after 5 min.",
    );
  });
});
