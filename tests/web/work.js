// The usual work: a queue, messages, a binding, the route tester.

import assert from "node:assert/strict";
import { choose, dialog, logIn, shot, title } from "./browser.js";

const NAME = "<img src=x onerror=alert(1)> & co/%2F";

export async function work({ page, wrong }) {
  await logIn(page, "wrong");
  await page.getByRole("alert").waitFor();
  assert.equal(await page.getByRole("alert").textContent(), "Not_Authorized (401 Unauthorized)");
  assert.equal(wrong.length, 1, "the browser tells of the 401 itself");
  wrong.length = 0;
  await logIn(page);
  await title(page, "Overview");

  await choose(page, "Queues");
  await page.getByRole("button", { name: "New queue" }).click();
  await dialog(page).getByLabel("Name", { exact: true }).fill(NAME);
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await page.getByRole("link", { name: NAME }).click();
  await title(page, NAME);

  await page.getByRole("button", { name: "Publish" }).click();
  await dialog(page).getByLabel("Body", { exact: true }).fill("<b>hello</b>");
  await dialog(page).getByRole("button", { name: "Publish" }).click();
  await page.getByText("Published and routed.").waitFor();
  await page.getByRole("button", { name: "Get" }).click();
  assert.equal(await page.locator("pre").textContent(), "<b>hello</b>");
  // The second reading makes the point a line.
  await page.locator('.chart path.s0[d*="L"]').first().waitFor({ state: "attached" });
  await shot(page, "queue");

  await choose(page, "Exchanges");
  await page.getByRole("link", { name: "amq.topic" }).click();
  await title(page, "amq.topic");
  await page.getByRole("button", { name: "Bind from here" }).click();
  await dialog(page).getByLabel("Name").fill(NAME);
  await dialog(page).getByLabel("Routing key").fill("a.*");
  await dialog(page).getByRole("button", { name: "Bind" }).click();
  await page.getByRole("link", { name: `queue ${NAME}` }).waitFor();

  await page.getByRole("link", { name: "Routes" }).click();
  await title(page, "Route tester");
  await page.getByLabel("Exchange").selectOption("amq.topic");
  await page.getByLabel("Routing key").fill("b");
  await page.getByRole("button", { name: "Show the way" }).click();
  await page.getByText("It reaches no queue").waitFor();
  await page.getByLabel("Routing key").fill("a.b");
  await page.getByRole("button", { name: "Show the way" }).click();
  await page.getByText("It reaches 1 queue").waitFor();
  await shot(page, "routes");

  await choose(page, "Queues");
  await page.getByRole("link", { name: NAME }).click();
  await title(page, NAME);
  await page.getByRole("button", { name: "Delete" }).click();
  await dialog(page).getByRole("button", { name: "Delete" }).click();
  await title(page, "Queues");
  await page.getByText("No queues.").waitFor();
  assert.deepEqual(wrong, []);

  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Password").waitFor();
  const whoami = () => page.evaluate(async () => {
    const answer = await fetch("/api/whoami", { headers: { "x-leveret-session": "1" } });
    return answer.status;
  });
  assert.equal(await whoami(), 401, "the session is over");
}
