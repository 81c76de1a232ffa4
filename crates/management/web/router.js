// From the part of the address behind `#` to a page, and its refresh.

import { ApiError } from "./api.js";
import { el, head } from "./dom.js";
import { failed } from "./notice.js";

const REFRESH = 5000;

const routes = [];
let current = null;
let onLogin = () => {};

/** A pattern like `/queues/:vhost/:name`, and the function that makes the page. */
export function route(pattern, show) {
  routes.push({ parts: pattern.split("/"), show });
}

export function start(whenLoginNeeded) {
  onLogin = whenLoginNeeded;
  addEventListener("hashchange", navigate);
  setInterval(() => { if (!document.hidden) refresh(); }, REFRESH);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}

export function stop() {
  leave();
  current = null;
}

/** Ends what the page has going on. */
function leave() {
  current?.leavers.forEach((end) => end());
}

export function go(path) {
  // What is left behind may be gone: it fetches nothing any more.
  stop();
  if (location.hash === `#${path}`) navigate();
  else location.hash = path;
}

/** A link within the interface: to`/queues/${vhost}/${name}`. */
export function to(strings, ...parts) {
  return `#${strings.reduce((path, text, index) => path + encodeURIComponent(parts[index - 1]) + text)}`;
}

function match(path) {
  const given = path.split("/");
  for (const { parts, show } of routes) {
    if (parts.length !== given.length) continue;
    if (!parts.every((part, index) => part.startsWith(":") || part === given[index])) continue;
    const names = parts.flatMap((part, index) => (
      part.startsWith(":") ? [[part.slice(1), decodeURIComponent(given[index])]] : []
    ));
    return { show, parameters: Object.fromEntries(names) };
  }
  return null;
}

export async function navigate() {
  const path = location.hash.slice(1) || "/";
  const main = document.getElementById("main");
  const page = { refreshers: [], leavers: [], parameters: {} };
  leave();
  current = page;
  mark(path);
  main.setAttribute("aria-busy", "true");
  let content;
  try {
    const found = match(path);
    if (!found) throw new ApiError(404, "There is no such page.");
    page.parameters = found.parameters;
    page.leaving = (end) => page.leavers.push(end);
    page.refreshing = (work) => page.refreshers.push(work);
    content = [await found.show(page)].flat();
  } catch (error) {
    if (current === page && error.isWrongLogin) {
      onLogin(error);
      return;
    }
    content = [head("This can't be shown"), failed(error)];
  }
  if (current !== page) return;
  main.removeAttribute("aria-busy");
  main.replaceChildren(...content);
  const title = main.querySelector("h1");
  document.title = `${title?.textContent ?? ""} · Leveret`;
  title?.focus();
  scrollTo(0, 0);
}

/** Has the page fetch again what it shows. */
export async function refresh() {
  const page = current;
  if (!page) return;
  let error = null;
  for (const work of page.refreshers) {
    try {
      await work();
    } catch (caught) {
      error = caught;
    }
  }
  if (current !== page) return;
  if (error?.isWrongLogin) {
    onLogin(error);
    return;
  }
  const main = document.getElementById("main");
  main.querySelector(".stale")?.remove();
  if (error) main.prepend(el("div", { class: "stale" }, failed(error)));
}

function mark(path) {
  const first = path.split("/")[1];
  for (const item of document.querySelectorAll("#nav a")) {
    const isCurrent = item.hash.split("/")[1] === first;
    if (isCurrent) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
    if (isCurrent) item.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
