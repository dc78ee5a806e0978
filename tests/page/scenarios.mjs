// Runs one scenario of the chat page in Chromium against a running node:  node scenarios.mjs <scenario> <base URL>
//
// Exits 0 if the page kept its promise, 1 with a reason if not. `node_restart` prints KILL and RESTART and waits for
// the line DONE after each; all others need nothing from whoever started them.

import { readdir } from "node:fs/promises";

import { launch } from "./harness.mjs";

const TOTAL_MS = 120_000;

const folder = new URL("scenarios/", import.meta.url);
const [name, url] = process.argv.slice(2);
const known = (await readdir(folder)).map((file) => file.replace(/\.mjs$/, ""));
if (!url || !known.includes(name)) {
  console.error(`usage: node scenarios.mjs <${known.join(" | ")}> <base URL>`);
  process.exit(2);
}
setTimeout(() => fail(new Error(`not done after ${TOTAL_MS / 1000} s`)), TOTAL_MS).unref();

const { default: scenario } = await import(new URL(`${name}.mjs`, folder));
const browser = await launch();
try {
  await scenario(browser, url);
  await browser.close();
  console.log(`PASS ${name}`);
  process.exit(0);
} catch (error) {
  await browser.close().catch(() => {});
  fail(error);
}

function fail(error) {
  console.error(`FAIL ${name}: ${error.stack ?? error}`);
  process.exit(1);
}
