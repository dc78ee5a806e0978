// Who is here: numbers, names, joins and leaves, without a browser or a node.

import assert from "node:assert/strict";
import { test } from "node:test";

import { People } from "../../chat-node/src/web/people.js";

/** People of a room whose server answers what `answers` says, by method. */
function people(t, answers) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const asked = [];
  const client = {
    call(method, _, done) {
      asked.push(method);
      const answer = answers[method];
      done(answer.error ?? null, answer.error ? undefined : answer);
    },
  };
  let changes = 0;
  const people = new People({ client, room: "lobby", onChange: () => changes++ });
  return { people, asked, changes: () => changes };
}

const member = (client, name, user = "") => ({ client, user, ...(name && { conn_info: { name } }) });
const members = (...list) => ({ presence: Object.fromEntries(list.map((info) => [info.client, info])) });
const names = (people) => people.list().people.map(({ name }) => name);

test("people are listed by name, and those without one by what they say or by their session", (t) => {
  const answers = {
    presence_stats: { num_clients: 4, num_users: 2 },
    presence: members(member("c1", "Zoe"), member("c2abcd"), member("c3", "", "ann"), member("c4", "Bob")),
  };
  const { people: here } = people(t, answers);
  here.begin();
  assert.deepEqual(names(here), ["ann", "Bob", "Guest c2ab", "Zoe"]);
  here.said("c2abcd", "Carl");
  assert.deepEqual(names(here), ["ann", "Bob", "Carl", "Zoe"]);
  assert.deepEqual([here.count, here.list().more], [4, 0]);
});

test("joins and leaves count once and go on from what was asked", (t) => {
  const { people: here, changes } = people(t, { presence_stats: { num_clients: 1 }, presence: members(member("c1", "Ann")) });
  here.came(member("c0", "Early"));
  assert.equal(here.count, null, "nobody knows who was there before");
  here.begin();
  here.came(member("c1", "Ann"));
  here.came(member("c2", "Bob"));
  assert.deepEqual([here.count, names(here)], [2, ["Ann", "Bob"]]);
  const before = changes();
  here.went(member("c9"));
  assert.equal(changes(), before, "somebody who was not there cannot leave");
  here.went(member("c1"));
  assert.deepEqual([here.count, names(here)], [1, ["Bob"]]);
  here.stop();
  assert.deepEqual([here.count, names(here)], [null, []]);
});

test("a large room is a number, and asked for its list once only", (t) => {
  const list = Array.from({ length: 4000 }, (_, n) => member(`c${String(n).padStart(4, "0")}`, `P${String(n).padStart(4, "0")}`));
  const { people: here, asked } = people(t, { presence_stats: { num_clients: 4421 }, presence: members(...list) });
  here.begin();
  assert.equal(here.count, 4421);
  assert.equal(here.list().people.length, 100);
  assert.equal(here.list().more, 4321);
  t.mock.timers.tick(10_000);
  t.mock.timers.tick(10_000);
  assert.deepEqual(asked, ["presence_stats", "presence", "presence_stats", "presence_stats"]);
});

test("where the server does not tell nothing is shown and nothing more is asked", (t) => {
  const { people: here, asked } = people(t, { presence_stats: { error: { code: 108, message: "not available" } } });
  here.begin();
  t.mock.timers.tick(60_000);
  assert.deepEqual([here.count, asked], [null, ["presence_stats"]]);
});

test("a name of an account is shown once however many tabs it has", (t) => {
  const answers = { presence_stats: { num_clients: 3 }, presence: members(member("c1", "", "ann"), member("c2", "", "ann"), member("c3", "ann")) };
  const { people: here } = people(t, answers);
  here.begin();
  assert.deepEqual(names(here), ["ann", "ann"], "one with an account, one who calls himself so");
});
