// The map of a virtual host.

import assert from "node:assert/strict";
import { api, logIn, put, shot, title, visit } from "./browser.js";

export async function chart({ page, wrong }) {
  for (const queue of ["bills", "parcels", "all-of-it"]) await api("PUT", `/queues/%2F/${queue}`, {});
  await api("PUT", "/exchanges/%2F/shop", { type: "topic" });
  await api("POST", "/bindings/%2F/e/shop/q/bills", { routing_key: "order.*" });
  await api("POST", "/bindings/%2F/e/shop/q/parcels", { routing_key: "parcel.#" });
  await api("POST", "/bindings/%2F/e/shop/e/amq.fanout", { routing_key: "#" });
  await api("POST", "/bindings/%2F/e/amq.fanout/q/all-of-it", {});
  await put("bills", "a bill");
  await logIn(page);
  await title(page, "Overview");
  await visit(page, "/map", "Map");
  await page.getByText("3 of 3 queues, 2 of 8 exchanges", { exact: false }).waitFor();
  assert.equal(await page.locator(".map path.line").count(), 4);
  await page.locator(".map a.queue").filter({ hasText: "1 message," }).waitFor();
  await shot(page, "map");
  await page.locator(".map a.exchange").filter({ hasText: "shop" }).click();
  await title(page, "shop");
  for (const queue of ["bills", "parcels", "all-of-it"]) await api("DELETE", `/queues/%2F/${queue}`);
  await api("DELETE", "/exchanges/%2F/shop");
  assert.deepEqual(wrong, []);
}
