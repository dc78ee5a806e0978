// Who comes late sees what was said last, oldest first, and goes on from there without a repetition.

import { Person, check, publishRaw } from "../harness.mjs";

export default async function recentMessagesAreShown(browser, url) {
  const ann = await Person.at(browser, `${url}/#lobby`, "Ann");
  await ann.join("lobby");
  const said = Array.from({ length: 60 }, (_, i) => `message ${i + 1}`);
  // Several connections, for a node may limit what one of them sends in a second.
  for (let i = 0; i < said.length; i += 15) await publishRaw(ann, "lobby", said.slice(i, i + 15).map((text) => ({ text, name: "Eve" })));
  await ann.sees("lobby", said);

  const late = await Person.at(browser, `${url}/#lobby`, "Late");
  await late.join("lobby");
  const recent = said.slice(-50);
  await late.sees("lobby", recent);
  const atEnd = await late.log("lobby").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2);
  check(atEnd, "the newest message is in view");
  await ann.say("lobby", "welcome");
  await late.sees("lobby", [...recent, "welcome"]);

  // Who reads further up is not torn away, but told.
  await late.log("lobby").evaluate((log) => log.scrollTo(0, 0));
  await ann.say("lobby", "more");
  await late.page.getByRole("button", { name: "1 new message" }).click();
  await late.page.getByText("more", { exact: true }).waitFor();
  await late.page.getByRole("button", { name: "1 new message" }).waitFor({ state: "hidden" });

  await late.page.reload();
  await late.isLive("lobby");
  await late.sees("lobby", [...recent, "welcome", "more"].slice(-50));
  await ann.isUntroubled();
  await late.isUntroubled();
}
