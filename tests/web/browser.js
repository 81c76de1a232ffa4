// The browser, and what all that is done in it needs.

import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, base] = process.argv.slice(2);
const screenshots = process.env.LEVERET_SCREENSHOTS;

export const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

/** A page in a window of this size, and what went wrong in it. */
export async function open(viewport, colorScheme) {
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => request.url().startsWith(base) || request.url().startsWith("blob:")
    || wrong.push(`fetched ${request.url()}`));
  await page.goto(`${base}/`);
  return { page, wrong };
}

export const title = (page, name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
export const dialog = (page) => page.getByRole("dialog");
export const shot = (page, name) => screenshots && page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });

export async function logIn(page, password = "guest", user = "guest") {
  await page.getByLabel("User").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

export async function choose(page, section) {
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: section, exact: true }).click();
  await title(page, section);
}

/** Goes to a page of the interface. */
export async function visit(page, path, heading) {
  await page.goto(`${base}/#${path}`);
  await title(page, heading);
}

/** Asks the HTTP API, as guest. */
export async function api(method, path, body) {
  const response = await fetch(`${base}/api${path}`, {
    method, headers: { authorization: `Basic ${btoa("guest:guest")}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** Publishes to a queue. */
export function put(queue, payload, { encoding = "string", ...properties } = {}) {
  return api("POST", "/exchanges/%2F/amq.default/publish", {
    routing_key: queue, payload, payload_encoding: encoding, properties: { delivery_mode: 2, ...properties },
  });
}
