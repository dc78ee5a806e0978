// The network goes and comes back: the page says so, catches up without a hole, and what was written meanwhile is sent once.

import { Network, Person, check } from "../harness.mjs";

export default async function networkCut(browser, url) {
  const network = await Network.to(url);
  const ann = await Person.at(browser, `${network.url}/#lobby`, "Ann");
  const bob = await Person.at(browser, `${url}/#lobby`, "Bob");
  await ann.join("lobby");
  await bob.join("lobby");
  const said = ["one", "two"];
  await ann.say("lobby", "one");
  await bob.sees("lobby", ["one"]);
  await bob.say("lobby", "two");
  await ann.sees("lobby", said);
  await ann.page.evaluate(() => (window.neverReloaded = true));

  network.cut();
  await ann.status(/reconnecting/i);
  for (const text of ["three", "four", "five"]) {
    await bob.say("lobby", text);
    said.push(text);
    await bob.sees("lobby", said);
  }
  await ann.say("lobby", "written offline");
  await ann.sees("lobby", ["one", "two", "UNSENT written offline"]);
  network.restore();
  said.push("written offline");
  await ann.sees("lobby", said);
  await bob.sees("lobby", said);
  await ann.status(/^connected/i);

  // A message that reached the node, but whose answer got lost, is neither lost nor doubled.
  network.mute();
  await ann.say("lobby", "in flight");
  said.push("in flight");
  await bob.sees("lobby", said);
  network.cut();
  await ann.status(/reconnecting/i);
  await bob.say("lobby", "after it");
  said.push("after it");
  network.restore();
  await ann.sees("lobby", said);

  await bob.say("lobby", "the end");
  said.push("the end");
  await ann.sees("lobby", said);
  await bob.sees("lobby", said);
  check(await ann.page.evaluate(() => window.neverReloaded), "the page was reloaded");
  network.close();
  await ann.isUntroubled();
  await bob.isUntroubled();
}
