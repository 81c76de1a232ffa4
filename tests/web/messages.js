// Looking at messages without taking them.

import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { api, logIn, put, shot, title, visit } from "./browser.js";

const QUEUE = "letters";
const MESSAGES = [
  { payload: "plain", shown: "plain", note: "text" },
  { payload: '{"a":[1,2]}', shown: '{\n  "a": [\n    1,\n    2\n  ]\n}', note: "JSON" },
  { payload: gzipSync("packed away").toString("base64"), encoding: "base64", shown: "packed away", note: "text, inflated from gzip, 11 B" },
  { payload: "gqFhw6FigQHA", encoding: "base64", shown: '{\n  "a": true,\n  "b": {\n    "1": null\n  }\n}', note: "MessagePack" },
  { payload: "AP8=", encoding: "base64", shown: `000000  ${"00 ff".padEnd(47)}  ..`, note: "hex" },
];

export async function browse({ page, wrong }) {
  await api("PUT", `/queues/%2F/${QUEUE}`, {});
  for (const [index, { payload, encoding }] of MESSAGES.entries()) {
    await put(QUEUE, payload, { encoding, headers: { number: `no-${index}` } });
  }
  await logIn(page);
  await title(page, "Overview");
  await visit(page, `/queues/%2F/${QUEUE}`, QUEUE);
  await page.getByRole("link", { name: "Browse messages" }).click();
  await title(page, `Messages in ${QUEUE}`);
  const items = page.locator("details.message");
  for (const [index, { shown, note }] of MESSAGES.entries()) {
    const item = items.nth(index);
    await item.locator("summary").click();
    await item.getByText(note, { exact: true }).waitFor();
    assert.equal(await item.locator("pre").textContent(), shown);
  }
  await shot(page, "messages");
  await page.getByLabel("Show bodies").selectOption("hex");
  await items.first().locator("summary").click();
  assert.match(await items.first().locator("pre").textContent(), /^000000 {2}70 6c 61 69 6e .* plain$/);

  await page.getByLabel("Contains").fill("NO-3");
  await page.getByRole("button", { name: "Browse" }).click();
  await page.getByText("Looked at 5 up to position 5 of 5").waitFor();
  // All five were looked at before as well, and "#3" was among them.
  await page.waitForFunction(() => document.querySelectorAll("details.message").length === 1);
  await items.getByText("#3").waitFor();

  const taken = await api("POST", `/queues/%2F/${QUEUE}/get`, { ackmode: "ack_requeue_false", count: 9, encoding: "auto" });
  assert.deepEqual(taken.map((one) => [one.payload, one.redelivered]), MESSAGES.map((one) => [one.payload, false]));
  await api("DELETE", `/queues/%2F/${QUEUE}`);

  await api("PUT", "/queues/%2F/log", { durable: true, arguments: { "x-queue-type": "stream" } });
  for (const payload of ["first", "second"]) await put("log", payload);
  await visit(page, "/queues/%2F/log", "log");
  await page.getByText("0 to 1", { exact: true }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Get" }).count(), 0, "streams have no basic.get");
  await page.getByRole("link", { name: "Browse messages" }).click();
  await items.getByText("second").first().waitFor();
  await api("DELETE", "/queues/%2F/log");
  assert.deepEqual(wrong, []);
}
