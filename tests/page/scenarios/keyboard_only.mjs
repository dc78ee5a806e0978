// Everything can be done by keyboard, the focus is visible, and every control has a name for a screen reader.

import { Person, check, equals } from "../harness.mjs";

export default async function keyboardOnly(browser, url) {
  const person = await Person.at(browser, `${url}/#lobby`, "Ann");
  const { page } = person;
  const { keyboard } = page;
  await everythingIsNamed(page);

  await focusIs(page, "Your name");
  await keyboard.type("Ann");
  await keyboard.press("Tab");
  await focusIs(page, "Room");
  await keyboard.press("Enter");
  await person.isLive("lobby");
  await focusIs(page, "Message to lobby");
  await keyboard.type("one");
  await keyboard.press("Shift+Enter");
  await keyboard.type("two");
  await keyboard.press("Enter");
  await person.sees("lobby", ["one\ntwo"]);
  await focusIs(page, "Message to lobby");

  await tabTo(page, "Join a room", "Shift+Tab");
  await keyboard.press("Enter");
  await focusIs(page, "Room");
  await keyboard.press("Escape");
  await focusIs(page, "Join a room");
  await keyboard.press("Enter");
  await keyboard.type("design");
  await keyboard.press("Enter");
  await person.isLive("design");
  await focusIs(page, "Message to design");
  await keyboard.type("in design");
  await keyboard.press("Enter");
  await person.sees("design", ["in design"]);

  await tabTo(page, "lobby", "Shift+Tab");
  await keyboard.press("Enter");
  await focusIs(page, "Message to lobby");
  const current = await page.locator('[aria-current="true"]').allInnerTexts();
  check(current.length === 1 && current[0] === "lobby", `the current room is ${current}`);
  await tabTo(page, "Messages in lobby", "Shift+Tab");
  await everythingIsNamed(page);
  await tabTo(page, "Leave design", "Tab");
  await keyboard.press("Space");
  await equals("the rooms that are left", 1, () => page.locator("section.room").count());
  await focusIs(page, "Message to lobby");
  // What was missed is put up in silence; that may take a moment.
  await equals("how new messages are read out", "polite", () => person.log("lobby").getAttribute("aria-live"));
  await person.isUntroubled();
}

const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    return {
      name: element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? (element === document.body ? "the page" : element.innerText.trim()),
      isVisible: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    };
  });

async function focusIs(page, name) {
  await equals("the focus", { name, isVisible: true }, () => focused(page));
}

async function tabTo(page, name, key) {
  const seen = [];
  for (let i = 0; i < 30; i++) {
    await page.keyboard.press(key);
    const focus = await focused(page);
    if (focus.name === name) return check(focus.isVisible, `the focus on ${name} is not visible`);
    seen.push(focus.name);
  }
  throw new Error(`${key} does not lead to ${name}, but to ${seen.join(", ")}`);
}

async function everythingIsNamed(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const roles = new Set(["button", "textbox", "dialog", "log", "region", "navigation", "link", "image"]);
  const nameless = nodes.filter(({ ignored, role, name }) => !ignored && roles.has(role?.value) && !name?.value);
  check(nameless.length === 0, `without a name: ${nameless.map(({ role }) => role.value).join(", ")}`);
  check(nodes.filter(({ role }) => role?.value === "button").length > 0, "the page has no buttons");
}
