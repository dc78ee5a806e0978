// Two people in one room read each other, with names, in one order.

import { Person, check } from "../harness.mjs";

export default async function twoBrowsersChat(browser, url) {
  const ann = await Person.at(browser, `${url}/#lobby`, "Ann");
  const bob = await Person.at(browser, `${url}/?room=lobby`, "Bob");
  check((await ann.page.getByLabel("Room", { exact: true }).inputValue()) === "lobby", "the hash names the room");
  check((await bob.page.getByLabel("Room", { exact: true }).inputValue()) === "lobby", "the query names the room");
  await ann.join("lobby");
  await bob.join("lobby");

  const said = [];
  for (const [who, text] of [[ann, "Hello, Bob!"], [bob, "Hello, Ann! 🎉"], [ann, "two\nlines"], [bob, "שלום"]]) {
    if (text.includes("\n")) {
      const [first, second] = text.split("\n");
      await who.composer("lobby").fill(first);
      await who.composer("lobby").press("Shift+Enter");
      await who.page.keyboard.type(second);
      await who.page.keyboard.press("Enter");
    } else await who.say("lobby", text);
    said.push(text);
    await ann.sees("lobby", said);
    await bob.sees("lobby", said);
    check((await who.composer("lobby").inputValue()) === "", "the box is empty after sending");
  }
  const names = await bob.log("lobby").locator(".name").allTextContents();
  check(names.join() === "Ann,Bob,Ann,Bob", `the names are ${names}`);
  const times = await bob.log("lobby").locator("time").count();
  check(times === 4, "each message has its time");

  await ann.say("lobby", "   ");
  await ann.say("lobby", "x".repeat(70_000));
  await ann.page.getByText("This message is too long").waitFor();
  check((await ann.composer("lobby").inputValue()).length === 70_000, "a message that is too long stays in the box");
  await ann.say("lobby", "still here");
  said.push("still here");
  await bob.sees("lobby", said);
  await ann.sees("lobby", said);
  await ann.isUntroubled();
  await bob.isUntroubled();
}
