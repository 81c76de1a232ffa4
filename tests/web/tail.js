// Messages as they pass.

import assert from "node:assert/strict";
import { api, choose, logIn, put, shot, title, visit } from "./browser.js";

export async function watch({ page, wrong }) {
  await api("PUT", "/queues/%2F/passing", {});
  await logIn(page);
  await title(page, "Overview");
  await visit(page, "/queues/%2F/passing/tail", "Passing through passing");
  await page.getByText("Watching: 0 passed.").waitFor();
  await put("passing", "the first");
  await put("passing", "the second");
  await page.getByText("Watching: 2 passed.").waitFor();
  await page.locator("details.message").filter({ hasText: "the second" }).click();
  await page.locator("pre").filter({ hasText: "the second" }).waitFor();
  await shot(page, "tail");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Not watching: 2 passed.").waitFor();
  await choose(page, "Exchanges");
  const left = await api("GET", "/leveret/messages/%2F/passing");
  assert.equal(left.messages.length, 2);
  await api("DELETE", "/queues/%2F/passing");
  assert.deepEqual(wrong, []);
}
