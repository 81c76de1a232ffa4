// Alerts: one that fires, its silence.

import assert from "node:assert/strict";
import { api, dialog, logIn, put, shot, title, visit } from "./browser.js";

export async function alert({ page, wrong }) {
  await api("PUT", "/queues/%2F/alone", {});
  await put("alone", "nobody reads this");
  await logIn(page);
  await title(page, "Overview");
  await visit(page, "/alerts", "Alerts");
  const firing = page.getByRole("region", { name: "Alerts" });
  await firing.getByText("queue 'alone' in vhost '/' has 1 messages and no consumer").waitFor();
  await firing.getByRole("button", { name: "Silence" }).click();
  await dialog(page).getByLabel("Minutes").fill("5");
  await dialog(page).getByLabel("Comment").fill("known");
  await dialog(page).getByRole("button", { name: "Silence" }).click();
  await firing.getByText("silenced").waitFor();
  const silences = page.getByRole("region", { name: "Silences" });
  await silences.getByRole("cell", { name: "known" }).waitFor();
  await shot(page, "alerts");
  await silences.getByRole("button", { name: "End" }).click();
  await page.getByText("Nothing is silenced.").waitFor();
  await api("DELETE", "/queues/%2F/alone");
  assert.deepEqual(wrong, []);
}
