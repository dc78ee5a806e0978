import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Client, LOST } from "../../chat-node/src/web/client.js";
import { FakeSocket } from "./fake_socket.mjs";

let states;
let pushes;
let client;

beforeEach(() => {
  FakeSocket.reset();
  states = [];
  pushes = [];
  client = new Client({
    url: "ws://node/connection/websocket",
    WebSocket: FakeSocket,
    onState: (state) => states.push(state),
    onPush: (push) => pushes.push(push),
    random: () => 0.5,
  });
});

const phases = () => states.map(({ phase }) => phase);

function clock(context) {
  context.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  return (ms) => context.mock.timers.tick(ms);
}

test("connects and answers pings", (t) => {
  clock(t);
  client.start();
  FakeSocket.last.welcome();
  assert.deepEqual(phases(), ["connecting", "connected"]);
  assert.deepEqual(FakeSocket.last.sent[0], { id: 1, connect: { name: "natter-page" } });
  FakeSocket.last.write({});
  assert.deepEqual(FakeSocket.last.sent.at(-1), {});
});

test("does not answer pings of a server that wants no pong", (t) => {
  clock(t);
  client.start();
  FakeSocket.last.welcome({ client: "c", ping: 25 });
  FakeSocket.last.write({});
  assert.equal(FakeSocket.last.waiting, 0);
});

test("a reply and the pushes behind it in one frame arrive in order, before anything else happens", (t) => {
  clock(t);
  const seen = [];
  const ordered = new Client({ url: "ws://node", WebSocket: FakeSocket, onState() {}, onPush: (push) => seen.push(push.pub.offset) });
  ordered.start();
  FakeSocket.last.welcome();
  ordered.call("subscribe", { channel: "r" }, () => seen.push("joined"));
  const { id } = FakeSocket.last.next("subscribe");
  FakeSocket.last.write({ id, subscribe: {} }, { push: { channel: "r", pub: { offset: 7 } } }, { push: { channel: "r", pub: { offset: 9 } } });
  assert.deepEqual(seen, ["joined", 7, 9]);
});

test("silence for ping plus grace ends the connection, any frame is a sign of life", (t) => {
  const pass = clock(t);
  client.start();
  const first = FakeSocket.last;
  first.welcome();
  pass(34_000);
  first.push("r", { pub: { offset: 1 } });
  pass(34_000);
  assert.equal(client.connected, true);
  pass(1_500);
  assert.equal(client.connected, false);
  assert.equal(first.closed, true);
  assert.equal(states.at(-1).phase, "waiting");
});

test("no greeting in time is a failed attempt", (t) => {
  const pass = clock(t);
  client.start();
  pass(8_100);
  assert.equal(states.at(-1).phase, "waiting");
});

test("the pauses between attempts start at half a second to one and grow to twenty", (t) => {
  const pass = clock(t);
  client.start();
  const pauses = [];
  for (let attempt = 0; attempt < 8; attempt++) {
    FakeSocket.last.end(1006);
    const before = FakeSocket.all.length;
    let waited = 0;
    while (FakeSocket.all.length === before) {
      pass(50);
      waited += 50;
    }
    pauses.push(waited);
  }
  assert.deepEqual(pauses, [750, 1000, 1500, 2500, 4500, 8500, 16500, 20000]);
});

test("a server that accepts and closes at once is asked less and less often", (t) => {
  const pass = clock(t);
  client.start();
  for (let attempt = 0; attempt < 6; attempt++) {
    FakeSocket.last.welcome();
    FakeSocket.last.end(3001, "shutdown");
    pass(20_000);
  }
  FakeSocket.last.welcome();
  FakeSocket.last.end(3001, "shutdown");
  const sockets = FakeSocket.all.length;
  pass(4_000);
  assert.equal(FakeSocket.all.length, sockets);
});

test("a wait ends at once when the network is back or the page is looked at", (t) => {
  clock(t);
  client.start();
  FakeSocket.last.end(1006);
  assert.equal(FakeSocket.all.length, 1);
  client.wake();
  assert.equal(FakeSocket.all.length, 2);
  client.wake();
  assert.equal(FakeSocket.all.length, 2);
});

test("a connection that died while the machine slept is noticed on waking", (t) => {
  clock(t);
  client.start();
  FakeSocket.last.welcome();
  t.mock.timers.setTime(Date.now() + 60_000);
  client.wake();
  assert.equal(client.connected, false);
});

for (const [code, terminal] of [[1006, false], [1009, false], [1012, false], [3001, false], [3008, false], [3499, false], [3500, true], [3999, true], [4000, false], [4500, true], [4999, true]]) {
  test(`close code ${code} ${terminal ? "ends it for good" : "means come back"}`, (t) => {
    const pass = clock(t);
    client.start();
    FakeSocket.last.welcome();
    FakeSocket.last.end(code, "because");
    assert.deepEqual(states.at(-1), { phase: terminal ? "ended" : "waiting", code, reason: "because" });
    pass(60_000);
    assert.equal(FakeSocket.all.length > 1, !terminal);
    if (!terminal) return;
    client.start();
    assert.equal(FakeSocket.all.length, 2);
  });
}

test("a disconnect push counts like a close code, and what follows it in the frame is not read", (t) => {
  clock(t);
  client.start();
  FakeSocket.last.welcome();
  FakeSocket.last.write({ push: { disconnect: { code: 3503, reason: "force disconnect" } } }, { push: { channel: "r", pub: {} } });
  assert.deepEqual(states.at(-1), { phase: "ended", code: 3503, reason: "force disconnect" });
  assert.deepEqual(pushes, []);
});

test("a temporary connect error is tried again, a permanent one is final", (t) => {
  clock(t);
  client.start();
  FakeSocket.last.onopen();
  FakeSocket.last.fail(FakeSocket.last.next("connect").id, 111, "too many requests", true);
  assert.equal(states.at(-1).phase, "waiting");
  client.wake();
  FakeSocket.last.onopen();
  FakeSocket.last.fail(FakeSocket.last.next("connect").id, 101, "unauthorized");
  assert.deepEqual(states.at(-1), { phase: "ended", code: 101, reason: "unauthorized" });
});

test("calls in flight learn that the connection is lost, before the state changes", (t) => {
  clock(t);
  const order = [];
  const watched = new Client({ url: "ws://node", WebSocket: FakeSocket, onState: ({ phase }) => order.push(phase), onPush() {} });
  watched.start();
  FakeSocket.last.welcome();
  watched.call("publish", {}, (error) => order.push(error));
  FakeSocket.last.end(1006);
  assert.deepEqual(order, ["connecting", "connected", LOST, "waiting"]);
  watched.call("publish", {}, (error) => order.push(error));
  assert.equal(order.at(-1), LOST);
});

test("a call without an answer ends the connection", (t) => {
  const pass = clock(t);
  client.start();
  FakeSocket.last.welcome();
  let error;
  client.call("publish", {}, (e) => (error = e));
  pass(10_100);
  assert.equal(error, LOST);
  assert.equal(states.at(-1).phase, "waiting");
});

test("unreadable frames end the connection, blank lines and unknown things do not", (t) => {
  clock(t);
  client.start();
  FakeSocket.last.welcome();
  FakeSocket.last.onmessage({ data: '\n{"push":{"channel":"r","novelty":{}}}\r\n\n{"id":999,"publish":{}}\n' });
  assert.equal(client.connected, true);
  assert.equal(pushes.length, 1);
  FakeSocket.last.onmessage({ data: "not json" });
  assert.equal(client.connected, false);
});
