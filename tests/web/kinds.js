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
for (const path of ["/queues/%2F/alone", "/policies/%2F/p", "/operator-policies/%2F/op"]) await api("DELETE", path);
await browser.close();
clearTimeout(overdue);
console.log("each kind of user is offered what it may do");
