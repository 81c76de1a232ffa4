// Dead letters, and their way back.

import assert from "node:assert/strict";
import { api, dialog, logIn, put, shot, title, visit } from "./browser.js";

export async function replay({ page, wrong }) {
  await api("PUT", "/queues/%2F/orders", { arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" } });
  await api("PUT", "/queues/%2F/dead", {});
  for (const payload of ["one", "two", "three"]) await put("orders", payload);
  await api("POST", "/queues/%2F/orders/get", { ackmode: "reject_requeue_false", count: 3, encoding: "auto" });
  await logIn(page);
  await title(page, "Overview");
  await visit(page, "/dead-letters", "Dead letters");
  await page.getByRole("link", { name: "dead", exact: true }).click();
  await title(page, "Dead letters in dead");
  await page.getByLabel("Contains").fill("two");
  await page.getByRole("button", { name: "Find" }).click();
  const items = page.locator("details.message");
  await page.waitForFunction(() => document.querySelectorAll("details.message").length === 1);
  await items.getByText(/rejected in orders/).click();
  assert.equal(await items.locator("pre").textContent(), "two");
  await shot(page, "dead-letters");

  await items.getByRole("button", { name: "Replay" }).click();
  await dialog(page).getByText("1 of 3 messages:").waitFor();
  await shot(page, "replay");
  await dialog(page).getByRole("button", { name: "Replay" }).click();
  await page.getByText("The replay has begun.").waitFor();
  const replays = page.getByRole("region", { name: "Replays" });
  await replays.getByRole("cell", { name: "done" }).waitFor();

  await page.getByLabel("Contains").fill("");
  await page.getByRole("button", { name: "Replay what is found" }).click();
  await dialog(page).getByText("2 of 2 messages:").waitFor();
  await dialog(page).getByLabel("Messages a second").fill("1000");
  await dialog(page).getByRole("button", { name: "Replay" }).click();
  await page.waitForFunction(() => (
    [...document.querySelectorAll("[aria-label=Replays] tbody tr")].filter((row) => row.textContent.includes("done")).length === 2));
  await page.getByRole("button", { name: "Find" }).click();
  await page.getByText("No dead letters here.").waitFor();

  const back = await api("POST", "/queues/%2F/orders/get", { ackmode: "ack_requeue_false", count: 9, encoding: "auto" });
  assert.deepEqual(back.map((one) => [one.payload, one.redelivered, one.properties.headers]),
    ["two", "one", "three"].map((payload) => [payload, false, undefined]));
  await api("DELETE", "/queues/%2F/orders");
  await api("DELETE", "/queues/%2F/dead");
  assert.deepEqual(wrong, []);
}
