// Everybody sees who is in the room, by name, as people come and go.

import { Person, check, equals } from "../harness.mjs";

const summary = (person, room) => person.panel(room).locator(".people .here");
const names = (person, room) => person.panel(room).getByRole("list", { name: `People in ${room}`, exact: true }).locator("li").allTextContents();
const sees = (person, room, expected) => equals(`${person.name} sees in ${room}`, expected, () => names(person, room));

export default async function whoIsHere(browser, url) {
  const ann = await Person.at(browser, `${url}/#lobby`, "Ann");
  await ann.join("lobby");
  await equals("the number Ann reads", "1 person here", () => summary(ann, "lobby").textContent());
  check((await summary(ann, "lobby").getAttribute("role")) === "status", "a screen reader hears of changes");
  // By keyboard, as a summary is opened.
  await ann.panel("lobby").locator(".people summary").focus();
  await ann.page.keyboard.press("Enter");
  await sees(ann, "lobby", ["Ann"]);

  const bob = await Person.at(browser, `${url}/#lobby`, "<b>Bob</b>");
  await bob.join("lobby");
  await sees(ann, "lobby", ["<b>Bob</b>", "Ann"]);
  await equals("the number Ann reads", "2 people here", () => summary(ann, "lobby").textContent());
  await bob.panel("lobby").locator(".people summary").click();
  await sees(bob, "lobby", ["<b>Bob</b>", "Ann"]);

  // A new name is everybody's to see.
  await bob.page.getByRole("button", { name: /^Your name is/ }).click();
  await bob.page.getByLabel("Your name", { exact: true }).fill("Robert");
  await bob.page.getByRole("button", { name: "Join", exact: true }).click();
  await bob.isLive("lobby");
  await sees(ann, "lobby", ["Ann", "Robert"]);

  // The class `live` tells of joins and leaves: nobody waits for the next question.
  await ann.join("live:room");
  await ann.panel("live:room").locator(".people summary").click();
  await bob.join("live:room");
  await equals("Ann sees Bob come", ["Ann", "Robert"], () => names(ann, "live:room"), 5_000);
  await bob.page.close();
  await equals("Ann sees Bob go", ["Ann"], () => names(ann, "live:room"), 5_000);
  await sees(ann, "lobby", ["Ann"]);
  await ann.isUntroubled();
  check(bob.troubles.length === 0, "no trouble for Bob");
}
