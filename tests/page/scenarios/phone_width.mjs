// At 320 by 568 pixels nothing sticks out, one room is shown at a time, and sending works.

import { Person, check } from "../harness.mjs";

const WIDTH = 320;
const HEIGHT = 568;
const WIDE = ["w".repeat(400), "שלום".repeat(60), "👩‍👩‍👧‍👦".repeat(60), "https://example.com/" + "a/".repeat(150), "\u202E" + "rtl ".repeat(30) + "end"];

export default async function phoneWidth(browser, url) {
  const longRoom = "r".repeat(80);
  const ann = await Person.at(browser, `${url}/#lobby`, "A".repeat(60), { viewport: { width: WIDTH, height: HEIGHT }, hasTouch: true });
  await fits(ann, "the dialog");
  await ann.join("lobby");
  for (const text of WIDE) await ann.say("lobby", text);
  await ann.sees("lobby", WIDE);
  await fits(ann, "a room with wide messages");

  await ann.join(longRoom);
  await fits(ann, "two rooms");
  check((await ann.panel(longRoom).isVisible()) && !(await ann.panel("lobby").isVisible()), "one room is shown at a time");
  await ann.composer(longRoom).fill("sent by the button");
  await ann.page.getByRole("region", { name: longRoom }).getByRole("button", { name: "Send", exact: true }).tap();
  await ann.sees(longRoom, ["sent by the button"]);

  const bob = await Person.at(browser, `${url}/#lobby`, "Bob");
  await bob.join("lobby");
  await bob.say("lobby", "news");
  await ann.page.getByRole("navigation", { name: "Rooms" }).getByRole("button", { name: "lobby 1 new", exact: true }).tap();
  check(await ann.panel("lobby").isVisible(), "a tab shows its room");
  await ann.sees("lobby", [...WIDE, "news"]);
  await ann.page.getByText("news", { exact: true }).waitFor();
  await fits(ann, "back in the first room");
  for (const name of ["Send", "Leave lobby"]) await inView(ann.page.getByRole("button", { name, exact: true }), name);
  await inView(ann.composer("lobby"), "the box");
  await ann.isUntroubled();
}

async function fits({ page }, where) {
  const sticksOut = await page.evaluate((width) => {
    // The tabs scroll by themselves; what is there for screen readers only is clipped to a point.
    const excused = (element) => element.closest("nav, .status[data-phase=connected]");
    const wide = [...document.querySelectorAll("body *")].filter((element) => {
      const { left, right, width: own } = element.getBoundingClientRect();
      return own > 1 && (right > width + 0.5 || left < -0.5) && !excused(element);
    });
    const cut = [...document.querySelectorAll(".message .text, .message bdi")].filter((element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      return range.getBoundingClientRect().right > width || range.getBoundingClientRect().left < 0;
    });
    wide.push(...cut);
    return [document.documentElement.scrollWidth > width ? "the page scrolls sideways" : "", ...wide.map((element) => element.outerHTML.slice(0, 120))].filter(Boolean);
  }, WIDTH);
  check(sticksOut.length === 0, `${where} is too wide: ${sticksOut.join(", ")}`);
}

async function inView(locator, what) {
  const { x, y, width, height } = await locator.boundingBox();
  check(x >= 0 && y >= 0 && x + width <= WIDTH && y + height <= HEIGHT, `${what} is not in view`);
}
