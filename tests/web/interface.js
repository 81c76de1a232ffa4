// Drives the web interface in a real browser: `node interface.js <chromium> <base URL>`.
// What is waited for is what the page shows; a wait that is too long is a failure.

import assert from "node:assert/strict";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, base] = process.argv.slice(2);
const screenshots = process.env.LEVERET_SCREENSHOTS;
const NAME = "<img src=x onerror=alert(1)> & co/%2F";

const overdue = setTimeout(() => {
  console.error("the browser takes too long");
  process.exit(1);
}, 240_000);

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

/** A page in a window of this size, and what went wrong in it. */
async function open(viewport, colorScheme) {
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => request.url().startsWith(base) || request.url().startsWith("blob:")
    || wrong.push(`fetched ${request.url()}`));
  await page.goto(`${base}/`);
  return { page, wrong };
}

const title = (page, name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
const dialog = (page) => page.getByRole("dialog");
const shot = (page, name) => screenshots && page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });

async function logIn(page, password = "guest") {
  await page.getByLabel("User").fill("guest");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

async function choose(page, section) {
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: section, exact: true }).click();
  await title(page, section);
}

async function work({ page, wrong }) {
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
  assert.equal(await page.evaluate(() => sessionStorage.getItem("leveret.login")), null);
}

/** Each page fits the window, and each control has a name for who can't see it. */
async function look({ page, wrong }, name) {
  await logIn(page);
  await title(page, "Overview");
  const pages = {
    "/": "Overview", "/queues": "Queues", "/exchanges": "Exchanges", "/exchanges/%2F/amq.topic": "amq.topic",
    "/exchanges/%2F/": "(default)", "/routes": "Route tester", "/connections": "Connections", "/channels": "Channels",
    "/admin": "Virtual hosts", "/admin/vhosts/%2F": "/", "/admin/users": "Users", "/admin/users/guest": "guest",
    "/admin/policies": "Policies", "/admin/features": "Features", "/admin/definitions": "Definitions",
  };
  for (const [path, heading] of Object.entries(pages)) {
    await page.goto(`${base}/#${path}`);
    await title(page, heading);
    const found = await page.evaluate(() => ({
      overhang: document.documentElement.scrollWidth - innerWidth,
      nameless: [...document.querySelectorAll("main input, main select, main textarea, main button")]
        .filter((one) => !one.labels?.length && !one.textContent.trim()).length,
    }));
    assert.deepEqual(found, { overhang: 0, nameless: 0 }, `${name} ${path}`);
    await shot(page, `${name}${path.replaceAll(/[^a-z]+/g, "-")}`);
  }
  assert.deepEqual(wrong, []);
}

await work(await open({ width: 1400, height: 900 }, "light"));
await look(await open({ width: 1400, height: 900 }, "dark"), "wide-dark");
await look(await open({ width: 360, height: 740 }, "light"), "phone-light");
await browser.close();
clearTimeout(overdue);
console.log("the web interface works");
