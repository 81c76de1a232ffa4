// The overview, open until standard input ends: what a broker's operator leaves on a screen. It must have gone on
// moving meanwhile.

import assert from "node:assert/strict";
import { browser, logIn, open, title } from "./browser.js";

const { page, wrong } = await open({ width: 1280, height: 800 }, "light");
await logIn(page);
await title(page, "Overview");
const line = page.locator('.chart path.s0[d*="L"]').first();
await line.waitFor({ state: "attached" });
const before = await line.getAttribute("d");
console.log("open");
for await (const _ of process.stdin);
assert.notEqual(await line.getAttribute("d"), before, "the chart stood still");
assert.deepEqual(wrong, []);
await browser.close();
