/** The plot of "chance of having found one" over time, as numbers: what is drawn where, and the same in words. */
import { duration, percent } from "./format";
import { candidatesFor, chanceFound } from "./odds";

export interface Sample {
  /** Seconds since the search began. */
  at: number;
  /** Candidates checked by then. */
  done: number;
}

export interface PlotModel {
  /** Seconds at the right edge. */
  span: number;
  ticks: number[];
  /** What has happened, as (seconds, chance). */
  past: Point[];
  /** What is to be expected at the present rate, or what could have been; empty while the rate is unknown. */
  future: Point[];
  now: Point;
  /** When the chance reaches 50 % and 95 %, if the rate stays; absent when that is beyond the edge or the rate unknown. */
  marks: { chance: number; at: number }[];
}

export interface Point {
  at: number;
  chance: number;
}

const CURVE_POINTS = 64;
const SPAN_CHANCE = 0.97;
const SPAN_MIN = 0.5;

export function plotModel(difficulty: number, samples: Sample[], rate: number): PlotModel {
  const last = samples.at(-1) ?? { at: 0, done: 0 };
  const chanceOf = ({ at, done }: Sample): Point => ({ at, chance: chanceFound(difficulty, done) });
  const reach = (chance: number) => last.at + Math.max(0, candidatesFor(difficulty, chance) - last.done) / rate;

  const known = rate > 0;
  const span = Math.max(known ? reach(SPAN_CHANCE) : 0, last.at * 1.15, SPAN_MIN);
  const future = !known
    ? []
    : evenly(last.at, span).map((at) => chanceOf({ at, done: last.done + (at - last.at) * rate }));
  const marks = [0.5, 0.95].flatMap((chance) => {
    const at = timeOf(chance, difficulty, samples) ?? (known ? reach(chance) : Number.POSITIVE_INFINITY);
    return at <= span ? [{ chance, at }] : [];
  });
  return { span, ticks: ticksUpTo(span), past: samples.map(chanceOf), future, now: chanceOf(last), marks };
}

/** When the samples passed this chance, if they did. */
function timeOf(chance: number, difficulty: number, samples: Sample[]): number | null {
  const needed = candidatesFor(difficulty, chance);
  const after = samples.findIndex(({ done }) => done >= needed);
  const high = samples[after];
  if (!high) return null;
  const low = samples[after - 1] ?? { at: 0, done: 0 };
  const part = high.done > low.done ? (needed - low.done) / (high.done - low.done) : 1;
  return low.at + part * (high.at - low.at);
}

function evenly(from: number, to: number): number[] {
  return Array.from({ length: CURVE_POINTS + 1 }, (_, index) => from + ((to - from) * index) / CURVE_POINTS);
}

const STEPS = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400,
];
const TICKS_MAX = 6;

/** Times that a clock has: seconds, quarters of a minute or an hour, days. */
export function ticksUpTo(span: number): number[] {
  let step = STEPS.find((size) => span / size <= TICKS_MAX);
  for (let days = 1; step === undefined; days *= 10) {
    step = [1, 2, 5].map((times) => times * days * 86_400).find((size) => span / size <= TICKS_MAX);
  }
  return Array.from({ length: Math.floor(span / step + 1e-9) + 1 }, (_, index) => index * (step as number));
}

export function tickLabel(at: number): string {
  return at > 0 && at < 10 ? `${Math.round(at * 10) / 10}\u00a0s` : duration(at);
}

/** Keeps a long search's samples few: drops the one that says least. */
export function thin(samples: Sample[], most: number): Sample[] {
  if (samples.length <= most) return samples;
  return samples.filter((_, index) => index % 2 === 0 || index === samples.length - 1);
}

export function inOneSentence(model: PlotModel, over: boolean): string {
  const done = model.now.chance;
  if (over) return `It took ${duration(model.now.at)}. By then ${percent(done)} of such searches are over.`;
  const marks = model.marks
    .filter(({ at }) => at > model.now.at)
    .map(({ chance, at }) => `${percent(chance)} after ${duration(at)}`);
  const outlook = marks.length > 0 ? ` At the present rate it reaches ${marks.join(" and ")}.` : "";
  return `After ${duration(model.now.at)} the chance of having found one is ${percent(done)}.${outlook}`;
}
