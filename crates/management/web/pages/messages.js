// The messages of a queue, looked at without taking them.

import { at, get } from "../api.js";
import { button, card, el, head, link } from "../dom.js";
import { field, values } from "../form.js";
import { count } from "../format.js";
import { messageItem } from "../message.js";
import { failed } from "../notice.js";
import { FORMS } from "../payload.js";
import { to } from "../router.js";

/** Bytes of a body that are fetched. */
const SHOWN = 100_000;

export async function messages(page) {
  const { vhost, name } = page.parameters;
  const here = at`/leveret/messages/${vhost}/${name}`;
  const found = el("div", { class: "stack" });
  const position = el("span", { role: "status" });
  let last = { messages: [], next: 0, end: 0 };
  const form = el("form", { onsubmit: (event) => { event.preventDefault(); load(); } },
    el("div", { class: "tools" },
      field({ name: "offset", label: "From position", type: "number", value: 0 }),
      field({ name: "count", label: "How many", type: "number", min: 1, max: 500, value: 25 }),
      field({ name: "contains", label: "Contains", type: "search" }),
      field({ name: "form", label: "Show bodies", type: "select", options: FORMS, onchange: show }),
      el("div", { class: "field" }, el("button", { class: "primary" }, "Browse"))));
  const first = button("First", () => move(0));
  const next = button("Next", () => move(last.next));

  function move(offset) {
    form.elements.offset.value = offset;
    return load();
  }

  function show() {
    const chosen = form.elements.form.value;
    const items = last.messages.map((one) => messageItem(one, { form: chosen, open: last.messages.length === 1 }));
    found.replaceChildren(...(items.length > 0 ? items : [el("p", { class: "empty" }, "No messages here.")]));
  }

  async function load() {
    const entered = values(form);
    const query = new URLSearchParams({ offset: entered.offset ?? 0, count: entered.count ?? 25, truncate: SHOWN });
    if (entered.contains) query.set("contains", entered.contains);
    try {
      last = await get(`${here}?${query}`);
    } catch (error) {
      found.replaceChildren(failed(error));
      return;
    }
    position.textContent = `Looked at ${count(last.looked_at)} up to position ${count(last.next)} of ${count(last.end)}`;
    next.disabled = last.next >= last.end;
    show();
  }

  await load();
  return [
    head(`Messages in ${name}`, { crumb: { text: `Queue ${name}`, href: to`/queues/${vhost}/${name}` } }),
    card(null,
      el("p", { class: "soft" }, "They stay where they are, and are not marked as redelivered. What consumers hold is not among them. ",
        link("Get them as a consumer", to`/queues/${vhost}/${name}`), " to take them out. A negative position is one from the end; ",
        "a text is looked for in body, properties and routing key."),
      form),
    card(null, found, el("div", { class: "pager" }, position, el("div", { class: "actions" }, first, next))),
  ];
}
