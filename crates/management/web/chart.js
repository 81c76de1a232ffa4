// A line chart of what has been seen since the page was opened.

import { el, svg } from "./dom.js";

const KEPT = 60;
const WIDTH = 600;
const HEIGHT = 140;

/** What a chart has been given, by its name, for as long as the tab shows the interface. */
const histories = new Map();

/**
 * A chart of some series: `names` of them, `format` for a value. `add` gives it the next value of
 * each; what came under the same `key` before is still there.
 */
export function chart({ key, title, names, format }) {
  const points = histories.get(key) ?? [];
  histories.set(key, points);
  const paths = names.map((_, index) => svg("path", { class: `s${index}` }));
  const lines = [0, 0.5, 1].map((part) => svg("line", {
    class: "grid", x1: 0, x2: WIDTH, y1: 2 + part * (HEIGHT - 4), y2: 2 + part * (HEIGHT - 4),
  }));
  const top = el("span");
  const span = el("span");
  const numbers = names.map(() => el("b"));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, lines, paths);
  const legend = el("ul", { class: "legend" }, names.map((name, index) => el("li", {},
    svg("svg", { viewBox: "0 0 28 14", "aria-hidden": "true" }, svg("path", { class: `s${index}`, d: "M0 7H28" })),
    name, numbers[index])));

  function draw() {
    const most = ceiling(Math.max(0, ...points.flatMap((point) => point.values)));
    const end = points.at(-1)?.time ?? 0;
    const begin = points[0]?.time ?? 0;
    const length = Math.max(end - begin, 60000);
    paths.forEach((path, index) => {
      const steps = points.map(({ time, values }) => {
        const x = WIDTH - ((end - time) / length) * WIDTH;
        const y = 2 + (HEIGHT - 4) * (1 - values[index] / most);
        return `${x.toFixed(1)} ${y.toFixed(1)}`;
      });
      path.setAttribute("d", steps.length > 0 ? `M${steps.join("L")}h.01` : "");
    });
    top.textContent = format(most);
    span.textContent = `last ${Math.round(length / 60000)} min`;
    numbers.forEach((number, index) => {
      number.textContent = format(points.at(-1)?.values[index] ?? 0);
    });
  }

  return {
    element: el("section", { class: "card chart" }, el("h2", {}, title),
      el("div", { class: "scale" }, top, span), picture, legend),
    add(values) {
      points.push({ time: Date.now(), values: values.map((value) => Math.max(0, value ?? 0)) });
      if (points.length > KEPT) points.shift();
      draw();
    },
  };
}

/** The next round number. */
function ceiling(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
