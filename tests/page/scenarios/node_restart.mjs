// The node dies and comes back with an empty memory: the page keeps what it showed, marks the gap, and goes on.

import { Driver, Person, check } from "../harness.mjs";

export default async function nodeRestart(browser, url) {
  const driver = new Driver();
  const ann = await Person.at(browser, `${url}/#lobby`, "Ann");
  const bob = await Person.at(browser, `${url}/#lobby`, "Bob");
  await ann.join("lobby");
  await bob.join("lobby");
  await ann.say("lobby", "one");
  await bob.sees("lobby", ["one"]);
  await bob.say("lobby", "two");
  await ann.sees("lobby", ["one", "two"]);
  await bob.sees("lobby", ["one", "two"]);
  await ann.page.evaluate(() => (window.neverReloaded = true));

  await driver.ask("KILL");
  await ann.status(/reconnecting/i);
  await bob.status(/reconnecting/i);
  await ann.say("lobby", "written meanwhile");
  await ann.sees("lobby", ["one", "two", "UNSENT written meanwhile"]);
  await driver.ask("RESTART");

  await ann.sees("lobby", ["one", "two", "GAP", "written meanwhile"]);
  await bob.sees("lobby", ["one", "two", "GAP", "written meanwhile"], 40_000);
  await ann.page.getByText("Messages may be missing here: the server could not recover").waitFor();
  await ann.status(/^connected/i);
  await bob.say("lobby", "three");
  const all = ["one", "two", "GAP", "written meanwhile", "three"];
  await ann.sees("lobby", all);
  await bob.sees("lobby", all);
  check(await ann.page.evaluate(() => window.neverReloaded), "the page was reloaded");
  await ann.isUntroubled();
  await bob.isUntroubled();
}
