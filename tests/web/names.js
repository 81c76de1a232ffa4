// Names that clients chose are text, whatever is in them: `node names.js <chromium> <base URL>`.
// A connection, its channel and its consumer have such names already; the test has opened them.

import assert from "node:assert/strict";
import { api, browser, logIn, open, put, title, visit } from "./browser.js";

const NAME = "<img src=x onerror=window.hit=1>";
const IN_PATH = encodeURIComponent(NAME);

const overdue = setTimeout(() => {
  console.error("the browser takes too long");
  process.exit(1);
}, 240_000);
const { page, wrong } = await open({ width: 1400, height: 900 }, "light");

await api("PUT", `/vhosts/${IN_PATH}`, { description: NAME, tags: NAME });
await api("PUT", `/users/${IN_PATH}`, { password: NAME, tags: NAME });
await api("PUT", `/permissions/${IN_PATH}/${IN_PATH}`, { configure: NAME, write: NAME, read: NAME });
await api("PUT", `/topic-permissions/%2F/${IN_PATH}`, { exchange: "amq.topic", write: NAME, read: NAME });
await api("PUT", `/policies/%2F/${IN_PATH}`, { pattern: NAME, definition: { "dead-letter-exchange": NAME } });
await api("PUT", `/exchanges/%2F/${IN_PATH}`, { type: "fanout", arguments: { [NAME]: NAME } });
await api("PUT", `/queues/%2F/${IN_PATH}`, { arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "hit", [NAME]: NAME } });
await api("PUT", "/queues/%2F/hit", {});
await api("POST", `/bindings/%2F/e/${IN_PATH}/q/${IN_PATH}`, { routing_key: NAME, arguments: { [NAME]: NAME } });
await put(NAME, NAME, { headers: { [NAME]: NAME }, content_type: NAME, message_id: NAME });
await api("POST", `/queues/%2F/${IN_PATH}/get`, { ackmode: "reject_requeue_false", count: 1, encoding: "auto" });
await put(NAME, NAME, { headers: { [NAME]: NAME } });
const [connection] = await api("GET", "/connections");
const [channel] = await api("GET", "/channels");

await logIn(page);
await title(page, "Overview");
const pages = {
  "/queues": "Queues", [`/queues/%2F/${IN_PATH}`]: NAME, [`/queues/%2F/${IN_PATH}/messages`]: `Messages in ${NAME}`,
  "/queues/%2F/watched": "watched", "/exchanges": "Exchanges", [`/exchanges/%2F/${IN_PATH}`]: NAME,
  "/dead-letters": "Dead letters", "/dead-letters/%2F/hit": "Dead letters in hit", "/map": "Map", "/routes": "Route tester",
  "/connections": "Connections", [`/connections/${encodeURIComponent(connection.name)}`]: null,
  "/channels": "Channels", [`/channels/${encodeURIComponent(channel.name)}`]: null,
  "/admin": "Virtual hosts", [`/admin/vhosts/${IN_PATH}`]: NAME, "/admin/vhosts/%2F": "/",
  "/admin/users": "Users", [`/admin/users/${IN_PATH}`]: NAME, "/admin/policies": "Policies",
};
for (const [path, heading] of Object.entries(pages)) {
  if (heading) await visit(page, path, heading);
  else await page.goto(`${new URL(page.url()).origin}/#${path}`);
  await page.locator("main").getByText("window.hit", { exact: false }).first().waitFor({ state: "attached" });
  for (const item of await page.locator("details.message summary").all()) await item.click();
  const found = await page.evaluate(() => [window.hit ?? null, document.querySelectorAll("main img").length]);
  assert.deepEqual(found, [null, 0], path);
}
await visit(page, `/queues/nowhere/${IN_PATH}`, "This can't be shown");
for (const path of [`/users/${IN_PATH}`, `/vhosts/${IN_PATH}`, `/policies/%2F/${IN_PATH}`, `/exchanges/%2F/${IN_PATH}`,
  `/queues/%2F/${IN_PATH}`, "/queues/%2F/hit"]) await api("DELETE", path);
assert.deepEqual(wrong.filter((one) => !one.includes("404")), []);
await browser.close();
clearTimeout(overdue);
console.log("names are text");
