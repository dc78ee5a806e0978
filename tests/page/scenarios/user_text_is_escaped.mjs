// Whatever people write as text, name or room stays text: nothing runs, nothing is fetched, nothing becomes a link.

import { Person, check, publishRaw } from "../harness.mjs";

const EVIL = [
  "<img src=x onerror=\"window.hacked=1\">",
  "<script>window.hacked=1</script>",
  "</script><script>window.hacked=1</script>",
  "</div></li></ol><h1 onclick=hacked=1>hello</h1>",
  "<svg onload=window.hacked=1>",
  "<iframe src=\"javascript:parent.hacked=1\"></iframe>",
  "javascript:window.hacked=1",
  "<a href=\"javascript:hacked=1\">click</a>",
  "{{constructor.constructor('hacked=1')()}}",
  "&lt;b&gt; &amp; &#60;",
  "\u202Egnp.exe \u2066 \u0000 \u{1F9D1}\u200D\u{1F680}",
];

const FOREIGN = [
  "a string",
  null,
  7,
  [1, { "<b>": 2 }],
  { text: { toString: "hi" } },
  { __proto__: null, constructor: "x" },
  { text: "odd fields", name: { a: 1 }, time: "never", id: ["x"] },
  { text: "absurd time", name: EVIL[0], time: 1e300 },
];

export default async function userTextIsEscaped(browser, url) {
  const room = "<img src=x onerror=window.hacked=1>";
  const ann = await Person.at(browser, url, EVIL[1]);
  const bob = await Person.at(browser, `${url}/#${encodeURIComponent(room)}`, "Bob");
  await ann.join(room);
  await bob.join(room);

  for (const text of EVIL) await ann.say(room, text);
  const texts = EVIL.slice();
  await bob.sees(room, texts);
  await publishRaw(bob, room, FOREIGN);
  texts.push('"a string"', "null", "7", '[1,{"<b>":2}]', '{"text":{"toString":"hi"}}', '{"constructor":"x"}', "odd fields", "absurd time");
  await bob.sees(room, texts);
  await ann.sees(room, texts);

  const names = await bob.log(room).locator(".name").allTextContents();
  const expected = [...EVIL.map(() => EVIL[1]), ...Array(7).fill("unknown"), EVIL[0]];
  check(JSON.stringify(names) === JSON.stringify(expected), `the names are ${JSON.stringify(names)}`);
  const times = await bob.log(room).locator("time").count();
  check(times === EVIL.length, "only believable times are shown");

  for (const person of [ann, bob]) {
    const markup = await person.page.locator("main :is(img, script, svg, iframe, a, h1, b)").count();
    check(markup === 0, "markup came out of a message");
    check((await person.page.evaluate(() => window.hacked)) === undefined, "a message ran as a script");
    const foreign = person.requests.filter((request) => !/^(\/|\/[a-z_]+\.(js|css|svg))$/.test(new URL(request).pathname));
    check(foreign.length === 0, `a message made the page fetch ${foreign}`);
    await person.isUntroubled();
  }
}
