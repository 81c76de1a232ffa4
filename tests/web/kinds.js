// What each kind of user is offered: `node kinds.js <chromium> <base URL>`.
// The users are there, named and tagged alike; `management` and guest have a connection each.

import assert from "node:assert/strict";
import { api, browser, logIn, open, put, title, visit } from "./browser.js";

const overdue = setTimeout(() => {
  console.error("the browser takes too long");
  process.exit(1);
}, 240_000);

const connections = await api("GET", "/connections");
const connectionOf = (user) => connections.find((one) => one.user === user).name;
await api("PUT", "/queues/%2F/alone", {});
await put("alone", "nobody reads this");
await api("PUT", "/policies/%2F/p", { pattern: "^nothing$", definition: { "max-length": 5 } });
await api("PUT", "/operator-policies/%2F/op", { pattern: "^nothing$", definition: { "max-length": 5 } });

const EVERYBODY = ["management", "policymaker", "monitoring", "administrator"];
const POLICYMAKERS = ["policymaker", "administrator"];
const MONITORS = ["monitoring", "administrator"];
const ADMINISTRATORS = ["administrator"];

/** Pages: their path, their heading, who sees them, and whom they offer what. */
const PAGES = [
  ["/", "Overview", EVERYBODY, {}],
  ["/queues", "Queues", EVERYBODY, { "New queue": EVERYBODY }],
  ["/queues/%2F/alone", "alone", EVERYBODY, { Publish: EVERYBODY, Purge: EVERYBODY, Delete: EVERYBODY }],
  ["/exchanges", "Exchanges", EVERYBODY, { "New exchange": EVERYBODY }],
  ["/exchanges/%2F/amq.topic", "amq.topic", EVERYBODY, { Publish: EVERYBODY, Watch: MONITORS }],
  ["/alerts", "Alerts", MONITORS, { Silence: ADMINISTRATORS }],
  [`/connections/${encodeURIComponent(connectionOf("guest"))}`, connectionOf("guest"), MONITORS, { Close: ADMINISTRATORS }],
  [`/connections/${encodeURIComponent(connectionOf("management"))}`, connectionOf("management"),
    ["management", ...MONITORS], { Close: ["management", "administrator"] }],
  ["/admin", "Virtual hosts", EVERYBODY, { "New virtual host": ADMINISTRATORS, "/": ADMINISTRATORS }],
  ["/admin/policies", "Policies", EVERYBODY, {
    "New policy": POLICYMAKERS, "Edit": POLICYMAKERS, "Delete": POLICYMAKERS, "New operator policy": ADMINISTRATORS,
  }],
  ["/admin/features", "Features", EVERYBODY, {}],
];

/** Who is led to which pages. */
const LINKS = {
  Main: {
    Overview: EVERYBODY, Queues: EVERYBODY, Exchanges: EVERYBODY, "Dead letters": EVERYBODY, Alerts: MONITORS,
    Map: EVERYBODY, Routes: EVERYBODY, Connections: EVERYBODY, Channels: EVERYBODY, Admin: EVERYBODY,
  },
  Administration: {
    "Virtual hosts": EVERYBODY, Users: ADMINISTRATORS, Policies: EVERYBODY, Features: EVERYBODY, Definitions: ADMINISTRATORS,
  },
};

const permitted = (all, user) => Object.keys(all).filter((name) => all[name].includes(user));

async function links(page, navigation) {
  return page.getByRole("navigation", { name: navigation, exact: true }).getByRole("link").allInnerTexts();
}

async function offered(page, names) {
  const main = page.locator("main");
  const found = await Promise.all(names.map((name) => (
    main.getByRole("button", { name, exact: true }).or(main.getByRole("link", { name, exact: true })).count())));
  return names.filter((_, index) => found[index] > 0);
}

for (const user of EVERYBODY) {
  const { page, wrong } = await open({ width: 1400, height: 900 }, "light");
  await logIn(page, user, user);
  await title(page, "Overview");
  assert.deepEqual(await links(page, "Main"), permitted(LINKS.Main, user), user);
  for (const [path, heading, viewers, offers] of PAGES) {
    if (!viewers.includes(user)) continue;
    await visit(page, path, heading);
    if (path === "/alerts") await page.getByText("queue 'alone' in vhost '/'").waitFor();
    assert.deepEqual(await offered(page, Object.keys(offers)), permitted(offers, user), `${path} by ${user}`);
  }
  await visit(page, "/admin", "Virtual hosts");
  assert.deepEqual(await links(page, "Administration"), permitted(LINKS.Administration, user), user);
  // Nothing was asked for that the API refuses.
  assert.deepEqual(wrong, [], user);
  await page.context().close();
}
// An administrator sees what is in vhosts of others, and is offered no more than that before there is a permission.
await api("PUT", "/vhosts/others", {});
const everything = { configure: ".*", write: ".*", read: ".*" };
await api("PUT", "/permissions/others/guest", everything);
await api("PUT", "/queues/others/theirs", {});
await api("POST", "/bindings/others/e/amq.topic/q/theirs", { routing_key: "their.key" });
await api("PUT", "/exchanges/others/theirs", { type: "topic" });
const DEEDS = ["Publish", "Purge", "Delete", "Bind", "Unbind", "Browse messages", "Watch", "Get", "Bind from here", "Bind to here"];
const OFFERED = {
  "/queues/others/theirs": [["Publish", "Purge", "Delete", "Bind", "Unbind", "Browse messages", "Watch", "Get"], []],
  // What passes there a monitor may watch without.
  "/exchanges/others/theirs": [["Publish", "Delete", "Watch", "Bind from here", "Bind to here"], ["Watch"]],
};
const { page, wrong } = await open({ width: 1400, height: 900 }, "light");
await logIn(page, "administrator", "administrator");
await title(page, "Overview");
for (const mayEnter of [false, true]) {
  if (mayEnter) await api("PUT", "/permissions/others/administrator", everything);
  for (const [path, [all, without]] of Object.entries(OFFERED)) {
    await visit(page, "/", "Overview");
    await visit(page, path, "theirs");
    if (path.startsWith("/queues")) await page.getByText("their.key").waitFor();
    assert.deepEqual(await offered(page, DEEDS), DEEDS.filter((name) => (mayEnter ? all : without).includes(name)), `${path} ${mayEnter}`);
  }
}
assert.deepEqual(wrong, []);
await api("DELETE", "/vhosts/others");

for (const path of ["/queues/%2F/alone", "/policies/%2F/p", "/operator-policies/%2F/op"]) await api("DELETE", path);
await browser.close();
clearTimeout(overdue);
console.log("each kind of user is offered what it may do");
