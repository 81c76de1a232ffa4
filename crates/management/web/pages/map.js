// The topology of a virtual host as a picture: exchanges, bindings, queues, consumers.

import { at, get, vhostNames } from "../api.js";
import { argumentText } from "../bindings.js";
import { card, el, head, svg } from "../dom.js";
import { field } from "../form.js";
import { count, rate } from "../format.js";
import { refresh, to } from "../router.js";

const [WIDTH, BOX, HEIGHT, STEP, TOP] = [960, 250, 40, 54, 10];
const COLUMNS = { exchange: 0, queue: (WIDTH - BOX) / 2, consumers: WIDTH - BOX };

export async function map(page) {
  const vhosts = await vhostNames();
  const picture = el("div", { class: "scroll map", role: "region", "aria-label": "Map", tabindex: "0" });
  const note = el("p", { class: "soft", role: "status" });
  const vhost = field({ name: "vhost", label: "Virtual host", type: "select", options: vhosts, onchange: () => refresh() });
  const name = field({ name: "name", label: "Queues whose name contains", type: "search", onchange: () => refresh() });

  async function load() {
    const chosen = vhost.querySelector("select").value;
    const query = new URLSearchParams({ name: name.querySelector("input").value });
    const found = await get(`${at`/leveret/map/${chosen}`}?${query}`);
    const drawing = { ...found, queues: placed(found) };
    note.textContent = `${count(found.queues.length)} of ${count(found.queues_total)} queues, `
      + `${count(found.exchanges.length)} of ${count(found.exchanges_total)} exchanges: those that lead there. `
      + "The default exchange reaches every queue by its name and is not drawn.";
    const focused = picture.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    picture.replaceChildren(draw(drawing, chosen));
    if (focused) [...picture.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused)?.focus();
  }

  page.refreshing(load);
  await load();
  return [head("Map"), card(null, el("div", { class: "tools" }, vhost, name), note, picture)];
}

/** The queues in their rows: each near the exchanges it gets its messages from. */
function placed({ queues, exchanges, links }) {
  const row = new Map(exchanges.map((one, index) => [one.name, index]));
  const sources = Map.groupBy(links.filter((one) => one.destination_type === "queue"), (one) => one.destination);
  const middle = (queue) => {
    const rows = (sources.get(queue.name) ?? []).map((one) => row.get(one.source));
    return rows.length > 0 ? rows.reduce((sum, one) => sum + one, 0) / rows.length : Infinity;
  };
  const sorted = queues.map((queue) => [middle(queue), queue]).sort(([a], [b]) => (a === b ? 0 : a - b));
  return sorted.map(([, queue]) => queue);
}

function draw({ exchanges, queues, links }, vhost) {
  const rows = Math.max(exchanges.length, queues.length, 1);
  const height = TOP * 2 + rows * STEP;
  const y = (all, name) => TOP + all.findIndex((one) => one.name === name) * STEP + HEIGHT / 2;
  const lines = links.map((one) => {
    const from = y(exchanges, one.source);
    const isToQueue = one.destination_type === "queue";
    const path = isToQueue
      ? curve(COLUMNS.exchange + BOX, from, COLUMNS.queue, y(queues, one.destination))
      : bow(COLUMNS.exchange + BOX, from, y(exchanges, one.destination));
    return svg("path", { class: "line", d: path }, svg("title", {}, lineTitle(one)));
  });
  const consumed = queues.filter((one) => one.consumers > 0);
  const deliveries = consumed.map((one) => svg("path", {
    class: "line", d: curve(COLUMNS.queue + BOX, y(queues, one.name), COLUMNS.consumers, y(queues, one.name)),
  }));
  const stats = (one, key) => rate(one.message_stats?.[key]?.rate ?? 0);
  const boxes = [
    ...exchanges.map((one) => box("exchange", y(exchanges, one.name), to`/exchanges/${vhost}/${one.name}`,
      one.name, `${one.type}, ${stats(one, "publish_in_details")} in`)),
    ...queues.map((one) => box("queue", y(queues, one.name), to`/queues/${vhost}/${one.name}`,
      one.name, `${count(one.messages)} ${one.messages === 1 ? "message" : "messages"}, ${stats(one, "publish_details")} in`)),
    ...consumed.map((one) => box("consumers", y(queues, one.name), to`/queues/${vhost}/${one.name}`,
      `${count(one.consumers)} ${one.consumers === 1 ? "consumer" : "consumers"}`, `${stats(one, "deliver_get_details")} out`)),
  ];
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height }, lines, deliveries, boxes);
}

/** What a line stands for: the bindings between its ends. */
function lineTitle({ source, destination, bindings, bindings_total: total }) {
  const told = bindings.map((one) => `${one.routing_key || "no key"} ${argumentText(one.arguments)}`.trim());
  if (total > told.length) told.push(`and ${count(total - told.length)} more`);
  return `${source} to ${destination}: ${told.join(", ")}`;
}

const curve = (x1, y1, x2, y2) => `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;
const bow = (x, y1, y2) => `M${x} ${y1}C${x + 45} ${y1} ${x + 45} ${y2} ${x} ${y2}`;

function box(kind, middle, href, name, about) {
  const x = COLUMNS[kind];
  const short = name.length > 30 ? `${name.slice(0, 29)}…` : name;
  return svg("a", { href, class: kind },
    svg("title", {}, name),
    svg("rect", { x: x + 1, y: middle - HEIGHT / 2, width: BOX - 2, height: HEIGHT, rx: 8 }),
    svg("text", { x: x + 12, y: middle - 3 }, short),
    svg("text", { x: x + 12, y: middle + 13, class: "about" }, about));
}
