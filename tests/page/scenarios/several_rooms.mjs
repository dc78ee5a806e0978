// Rooms stand side by side, do not mix, can be left and joined again, and are there after a reload.

import { Person, check, equals } from "../harness.mjs";

export default async function severalRooms(browser, url) {
  const ann = await Person.at(browser, `${url}/#lobby`, "Ann");
  const bob = await Person.at(browser, `${url}/#design`, "Bob");
  await ann.join("lobby");
  await ann.join("design");
  await bob.join("design");
  check((await ann.panel("lobby").isVisible()) && (await ann.panel("design").isVisible()), "both rooms are in view");

  await ann.say("lobby", "in the lobby");
  await bob.say("design", "in design");
  await ann.say("design", "me too");
  await ann.sees("lobby", ["in the lobby"]);
  await ann.sees("design", ["in design", "me too"]);
  await bob.sees("design", ["in design", "me too"]);

  await ann.page.getByRole("button", { name: "Leave design" }).click();
  await equals("the rooms that are left", 1, () => ann.page.locator("section.room").count());
  await bob.say("design", "Ann is gone");
  await bob.sees("design", ["in design", "me too", "Ann is gone"]);
  await ann.join("design");
  await ann.sees("design", ["in design", "me too", "Ann is gone"]);
  await bob.say("design", "Ann is back");
  await ann.sees("design", ["in design", "me too", "Ann is gone", "Ann is back"]);

  await ann.page.reload();
  await ann.isLive("lobby");
  await ann.isLive("design");
  await ann.sees("lobby", ["in the lobby"]);
  await ann.sees("design", ["in design", "me too", "Ann is gone", "Ann is back"]);
  await ann.say("lobby", "known by name");
  await equals("the name after a reload", "Ann", () => ann.log("lobby").locator(".name").last().textContent());

  await ann.page.evaluate(() => (location.hash = "#third"));
  await ann.isLive("third");
  await ann.isUntroubled();
  await bob.isUntroubled();
}
