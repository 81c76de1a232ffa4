// Drives the web interface in a real browser: `node interface.js <chromium> <base URL>`.
// What is waited for is what the page shows; a wait that is too long is a failure.

import { alert } from "./alerts.js";
import { browser, open } from "./browser.js";
import { replay } from "./dead_letters.js";
import { look } from "./look.js";
import { chart } from "./map.js";
import { browse } from "./messages.js";
import { watch } from "./tail.js";
import { work } from "./work.js";

const overdue = setTimeout(() => {
  console.error("the browser takes too long");
  process.exit(1);
}, 240_000);

const WIDE = { width: 1400, height: 900 };
await work(await open(WIDE, "light"));
await browse(await open(WIDE, "light"));
await replay(await open(WIDE, "light"));
await alert(await open(WIDE, "light"));
await watch(await open(WIDE, "light"));
await chart(await open(WIDE, "light"));
await look(await open(WIDE, "dark"), "wide-dark");
await look(await open({ width: 360, height: 740 }, "light"), "phone-light");
await browser.close();
clearTimeout(overdue);
console.log("the web interface works");
