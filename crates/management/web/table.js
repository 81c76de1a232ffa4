// Tables: of what is at hand, and of lists that the API sorts, filters and gives page by page.

import { at, get, vhostNames } from "./api.js";
import { button, el } from "./dom.js";
import { count } from "./format.js";
import { refresh } from "./router.js";

/**
 * A table of these items. A column has a `title` and a `cell`, and may be a `number`; the first
 * names the row.
 */
export function table(caption, columns, items, empty = "There are none.") {
  const body = el("tbody");
  fill(body, columns, items, empty);
  return framed(caption, columns.map((column) => heading(column)), body);
}

/** A wide table scrolls within its frame, also with the keyboard. */
function framed(caption, headings, body) {
  return el("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    el("table", {}, el("caption", { class: "visually-hidden" }, caption),
      el("thead", {}, el("tr", {}, headings)), body));
}

function heading(column, onclick) {
  const kind = column.number ? "number" : null;
  if (!column.sort || !onclick) return el("th", { scope: "col", class: kind }, column.title);
  return el("th", { scope: "col", class: kind, "data-sort": column.sort },
    el("button", { type: "button", onclick }, column.title));
}

function fill(body, columns, items, empty) {
  // Who is on a link in the table stays there.
  const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const rows = items.map((item) => el("tr", {}, columns.map((column, index) => {
    const attributes = { class: column.number ? "number" : null };
    return index === 0
      ? el("th", { scope: "row", ...attributes }, column.cell(item))
      : el("td", attributes, column.cell(item));
  })));
  const nothing = el("tr", {}, el("td", { class: "empty", colspan: columns.length }, empty));
  body.replaceChildren(...(rows.length > 0 ? rows : [nothing]));
  if (focused) [...body.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused)?.focus();
}

/**
 * A list of the API, for a page. `path` is the list's, `inVhost` where a vhost's own is, null if it is
 * of one vhost anyway; such a list has a `title`, and shows how to look through it once it is long.
 * What was searched for and how it was sorted stays for as long as the tab is open.
 */
export async function liveTable(page, { title, caption, path, columns, empty, inVhost = (vhost) => path + at`/${vhost}` }) {
  const state = remembered(path);
  const names = inVhost ? await vhostNames() : [];
  if (!names.includes(state.vhost)) state.vhost = "";
  const body = el("tbody");
  const position = el("span", { role: "status" });
  const previous = button("Previous", () => change({ page: state.page - 1 }));
  const next = button("Next", () => change({ page: state.page + 1 }));
  const headings = columns.map((column) => heading(column, () => sortBy(column.sort)));

  function sortBy(sort) {
    change({ sort, reverse: state.sort === sort && !state.reverse, page: 1 });
  }

  function change(to) {
    Object.assign(state, to);
    sessionStorage.setItem(`leveret.list${path}`, JSON.stringify(state));
    return refresh();
  }

  async function load() {
    const where = state.vhost ? inVhost(state.vhost) : path;
    const parameters = new URLSearchParams();
    parameters.set("page", state.page);
    parameters.set("page_size", state.size);
    if (state.name) parameters.set("name", state.name);
    if (state.name) parameters.set("use_regex", state.regex);
    if (state.sort) parameters.set("sort", state.sort);
    if (state.sort) parameters.set("sort_reverse", state.reverse);
    let found;
    try {
      found = await get(`${where}?${parameters}`);
    } catch (error) {
      // The page is gone when the list has become shorter.
      if (error.status !== 400 || state.page === 1) throw error;
      state.page = 1;
      await load();
      return;
    }
    fill(body, columns, found.items, empty);
    for (const one of headings) {
      if (!one.dataset.sort) continue;
      const direction = state.reverse ? "descending" : "ascending";
      one.setAttribute("aria-sort", one.dataset.sort === state.sort ? direction : "none");
    }
    previous.disabled = state.page <= 1;
    next.disabled = state.page >= found.page_count;
    tools.hidden = pager.hidden = !inVhost && found.total_count <= state.size && !state.name;
    const all = found.filtered_count === found.total_count
      ? count(found.total_count) : `${count(found.filtered_count)} of ${count(found.total_count)}`;
    position.textContent = `${all} · page ${count(found.page)} of ${count(Math.max(found.page_count, 1))}`;
  }

  let wait;
  const search = (event) => {
    clearTimeout(wait);
    wait = setTimeout(() => change({ name: event.target.value, page: 1 }), 250);
  };
  const tools = el("div", { class: "tools", role: "search" },
    inVhost && el("label", {}, "Virtual host",
      el("select", { onchange: (event) => change({ vhost: event.target.value, page: 1 }) },
        el("option", { value: "" }, "All"),
        names.map((name) => el("option", { value: name, selected: name === state.vhost }, name)))),
    el("label", {}, "Name contains", el("input", { type: "search", value: state.name, oninput: search })),
    el("label", { class: "check" },
      el("input", { type: "checkbox", checked: state.regex, onchange: (event) => change({ regex: event.target.checked, page: 1 }) }),
      "Regular expression"));
  const pager = el("div", { class: "pager" }, position, el("div", { class: "actions" },
    el("label", {}, "Rows ", el("select", { onchange: (event) => change({ size: Number(event.target.value), page: 1 }) },
      [25, 100, 500].map((size) => el("option", { selected: size === state.size }, size)))),
    previous, next));
  page.refreshing(load);
  let failure = null;
  try {
    await load();
  } catch (error) {
    // As with an expression that isn't one yet: it can be put right here.
    if (error.status !== 400) throw error;
    failure = error;
  }
  if (failure) position.textContent = failure.message;
  return el("section", { class: "card" }, title && el("h2", {}, title), tools,
    framed(caption, headings, body),
    pager);
}

function remembered(path) {
  const fresh = { page: 1, size: 25, name: "", regex: false, sort: "", reverse: false, vhost: "" };
  try {
    return { ...fresh, ...JSON.parse(sessionStorage.getItem(`leveret.list${path}`)) };
  } catch {
    return fresh;
  }
}
