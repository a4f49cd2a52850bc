/** Draws the plot as SVG at the size it is shown, so that its letters keep their size on a phone. */
import { percent } from "../format";
import { type PlotModel, type Point, tickLabel } from "../plot-model";
import { svg } from "./dom";

const HEIGHT = 240;
const EDGE = { left: 44, right: 14, top: 26, bottom: 30 };

export function drawPlot(model: PlotModel, width: number, over: boolean): SVGSVGElement {
  const right = width - EDGE.right;
  const bottom = HEIGHT - EDGE.bottom;
  const x = (at: number) => EDGE.left + ((right - EDGE.left) * at) / model.span;
  const y = (chance: number) => bottom - (bottom - EDGE.top) * chance;
  const line = (points: Point[]) =>
    points
      .map(({ at, chance }, index) => `${index === 0 ? "M" : "L"}${x(at).toFixed(1)} ${y(chance).toFixed(1)}`)
      .join("");

  const rows = [0, 0.25, 0.5, 0.75, 1].flatMap((chance) => [
    svg("line", { class: "grid", x1: EDGE.left, x2: right, y1: y(chance), y2: y(chance) }),
    svg("text", { class: "label", x: EDGE.left - 8, y: y(chance) + 4, "text-anchor": "end" }, `${chance * 100} %`),
  ]);
  const columns = fitting(model.ticks, (at) => x(at), right).map((at) =>
    svg(
      "text",
      { class: "label", x: x(at), y: bottom + 20, "text-anchor": at === 0 ? "start" : "middle" },
      at === 0 ? "0" : tickLabel(at),
    ),
  );
  const isNearNow = (left: number, top: number) =>
    Math.abs(left - x(model.now.at)) < 60 && Math.abs(top - y(model.now.chance)) < 24;
  const marks = model.marks.flatMap(({ chance, at }) => [
    svg("line", { class: "mark", x1: x(at), x2: x(at), y1: y(chance), y2: bottom }),
    svg("circle", { class: "mark-dot", cx: x(at), cy: y(chance), r: 3 }),
    isNearNow(x(at), y(chance)) ? null : markLabel(x(at), y(chance), percent(chance)),
  ]);
  const { past, now } = model;
  const area =
    past.length > 1
      ? `${line(past)}L${x(now.at).toFixed(1)} ${bottom}L${x(past[0]?.at ?? 0).toFixed(1)} ${bottom}Z`
      : "";
  return svg(
    "svg",
    {
      class: "plot",
      width,
      height: HEIGHT,
      viewBox: `0 0 ${width} ${HEIGHT}`,
      "aria-hidden": "true",
      focusable: "false",
    },
    ...rows,
    ...columns,
    svg("path", { class: "area", d: area }),
    svg("path", { class: "future", d: line(model.future) }),
    ...marks,
    svg("path", { class: "past", d: line(past) }),
    svg("circle", { class: over ? "now over" : "now", cx: x(now.at), cy: y(now.chance), r: 6 }),
    nowLabel(x(now.at), y(now.chance), over ? "found" : percent(now.chance)),
  );
}

/** Above and left of a point the curve leaves room, except at the left edge. */
const ROOM_LEFT = EDGE.left + 44;

function markLabel(x: number, y: number, text: string): SVGElement {
  return x > ROOM_LEFT
    ? svg("text", { class: "label", x: x - 8, y: y - 6, "text-anchor": "end" }, text)
    : svg("text", { class: "label", x: x + 8, y: y + 14 }, text);
}

function nowLabel(x: number, y: number, text: string): SVGElement {
  return x > ROOM_LEFT + 30
    ? svg("text", { class: "now-label", x: x - 11, y: y - 9, "text-anchor": "end" }, text)
    : svg("text", { class: "now-label", x: x + 12, y: y - 8 }, text);
}

const LABEL_WIDTH = 62;

/** Leaves out labels that would run into each other or over the edge. */
function fitting(ticks: number[], x: (at: number) => number, right: number): number[] {
  let free = Number.NEGATIVE_INFINITY;
  return ticks.filter((at) => {
    const fits = x(at) >= free && (at === 0 || x(at) + LABEL_WIDTH / 2 <= right + 24);
    if (fits) free = x(at) + LABEL_WIDTH;
    return fits;
  });
}
