// The dead letters in a queue, and their way back.

import { at, get } from "../api.js";
import { button, card, el, head } from "../dom.js";
import { field, values } from "../form.js";
import { count } from "../format.js";
import { messageItem } from "../message.js";
import { failed } from "../notice.js";
import { askForReplay, REPLAY_COLUMNS } from "../replay.js";
import { to } from "../router.js";
import { table } from "../table.js";

const SHOWN = 100_000;
const REASONS = [["", "any"], "rejected", "expired", "maxlen", "delivery_limit"];

export async function deadLetterQueue(page) {
  const { vhost, name } = page.parameters;
  const [found, replays] = [el("div", { class: "stack" }), el("div")];
  const position = el("span", { role: "status" });
  let next = 0;
  const form = el("form", { onsubmit: (event) => { event.preventDefault(); load(0); } },
    el("div", { class: "tools" },
      field({ name: "reason", label: "Died of", type: "select", options: REASONS }),
      field({ name: "died_in", label: "In queue" }),
      field({ name: "contains", label: "Contains", type: "search" }),
      el("div", { class: "field" }, el("button", { class: "primary" }, "Find"))));
  const more = button("Next", () => load(next));
  const replay = (filter, what) => askForReplay({ vhost, queue: name, filter, what });

  async function load(offset) {
    const query = new URLSearchParams({ dead: true, offset, count: 25, truncate: SHOWN, ...values(form) });
    let page;
    try {
      page = await get(`${at`/leveret/messages/${vhost}/${name}`}?${query}`);
    } catch (error) {
      found.replaceChildren(failed(error));
      return;
    }
    next = page.next;
    more.disabled = page.next >= page.end;
    position.textContent = `Looked at ${count(page.looked_at)} up to position ${count(page.next)} of ${count(page.end)}`;
    const items = page.messages.map((one) => messageItem(one, {
      label: death(one), more: [button("Replay", () => replay({ ids: [one.id] }, "this message"))],
    }));
    found.replaceChildren(...(items.length > 0 ? items : [el("p", { class: "empty" }, "No dead letters here.")]));
  }

  async function follow() {
    const all = await get("/leveret/replays");
    const own = all.filter((one) => one.vhost === vhost && one.queue === name);
    replays.replaceChildren(table("Replays", REPLAY_COLUMNS, own, "None yet."));
  }

  page.refreshing(follow);
  await Promise.all([load(0), follow()]);
  return [
    head(`Dead letters in ${name}`, {
      crumb: { text: "Dead letters", href: "#/dead-letters" },
      actions: [
        el("a", { class: "button", href: to`/queues/${vhost}/${name}` }, "The queue"),
        button("Replay what is found", () => replay(values(form), "all that is found")),
      ],
    }),
    card(null, form),
    card(null, found, el("div", { class: "pager" }, position, el("div", { class: "actions" },
      button("First", () => load(0)), more))),
    card("Replays of this queue", replays),
  ];
}

/** Why, where and how often a message died. */
function death({ properties }) {
  const [last, ...earlier] = properties.headers["x-death"];
  const times = last.count > 1 ? `, ${last.count} times` : "";
  const before = earlier.length > 0 ? `, after ${earlier.map((one) => `${one.reason} in ${one.queue}`).join(", ")}` : "";
  return `${last.reason} in ${last.queue}${times}${before}, ${new Date(last.time * 1000).toLocaleString()}`;
}
