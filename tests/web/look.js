// How the pages look.

import assert from "node:assert/strict";
import { api, logIn, put, shot, title, visit } from "./browser.js";

/** Each page fits the window, and each control has a name for who can't see it. */
export async function look({ page, wrong }, name) {
  await api("PUT", "/queues/%2F/looked-at", {});
  await put("looked-at", JSON.stringify({ order: 4711, lines: Array(40).fill("a long line") }), {
    headers: { "x-tenant": "a-name-that-is-quite-long-for-a-telephone-in-portrait" },
  });
  await api("POST", "/bindings/%2F/e/amq.topic/q/looked-at", { routing_key: "#" });
  await logIn(page);
  await title(page, "Overview");
  const pages = {
    "/": "Overview", "/queues": "Queues", "/queues/%2F/looked-at": "looked-at",
    "/queues/%2F/looked-at/messages": "Messages in looked-at", "/queues/%2F/looked-at/tail": "Passing through looked-at", "/exchanges": "Exchanges", "/exchanges/%2F/amq.topic": "amq.topic",
    "/exchanges/%2F/": "(default)", "/dead-letters": "Dead letters",
    "/dead-letters/%2F/looked-at": "Dead letters in looked-at", "/alerts": "Alerts", "/map": "Map", "/routes": "Route tester", "/connections": "Connections", "/channels": "Channels",
    "/admin": "Virtual hosts", "/admin/vhosts/%2F": "/", "/admin/users": "Users", "/admin/users/guest": "guest",
    "/admin/policies": "Policies", "/admin/features": "Features", "/admin/definitions": "Definitions",
  };
  for (const [path, heading] of Object.entries(pages)) {
    await visit(page, path, heading);
    const found = await page.evaluate(() => ({
      overhang: document.documentElement.scrollWidth - innerWidth,
      nameless: [...document.querySelectorAll("main input, main select, main textarea, main button")]
        .filter((one) => !one.labels?.length && !one.textContent.trim()).length,
    }));
    assert.deepEqual(found, { overhang: 0, nameless: 0 }, `${name} ${path}`);
    await shot(page, `${name}${path.replaceAll(/[^a-z]+/g, "-")}`);
  }
  await api("DELETE", "/queues/%2F/looked-at");
  assert.deepEqual(wrong, []);
}
