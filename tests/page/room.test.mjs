import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Client } from "../../chat-node/src/web/client.js";
import { MAX_ITEMS } from "../../chat-node/src/web/log.js";
import { Room } from "../../chat-node/src/web/room.js";
import { FakeSocket } from "./fake_socket.mjs";

let client;
let room;

beforeEach(() => {
  FakeSocket.reset();
  room = undefined;
  client = new Client({
    url: "ws://node",
    WebSocket: FakeSocket,
    random: () => 0.5,
    onPush: (push) => room?.pushed(push),
    onState: ({ phase }) => (phase === "connected" ? room?.join() : room?.disconnected()),
  });
});

const socket = () => FakeSocket.last;
const pub = (offset, text = `m${offset}`) => ({ offset, data: { id: "foreign", name: "Ann", text, time: 1 } });
const push = (...pubs) => socket().write(...pubs.map((p) => ({ push: { channel: "lobby", pub: p } })));
const shown = () => room.log.items.map((item) => (item.kind === "gap" ? "GAP" : item.text));
const fates = () => room.outbox.entries.map(({ fate }) => fate);

function connect(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.UTC(2026, 5, 1) });
  client.start();
  room = new Room({ name: "lobby", client, author: () => "Me", onChange() {} });
  socket().welcome();
}

function reconnect() {
  socket().end(1006);
  client.wake();
  socket().welcome();
}

function join(reply = {}) {
  const command = socket().next("subscribe");
  socket().reply(command.id, { subscribe: { recoverable: true, positioned: true, epoch: "e1", offset: 0, recovered: false, was_recovering: false, ...reply } });
  return command;
}

/** Answers the history commands with all there is, newest first; the answer to a second one is that this was all. */
function history(publications, epoch = "e1") {
  const command = historyPage(publications, epoch);
  if (publications.length > 0 && socket().waiting > 0) historyPage([], epoch);
  return command;
}

function historyPage(publications, epoch = "e1") {
  const command = socket().next("history");
  const top = Math.max(0, ...publications.map(({ offset }) => offset));
  socket().reply(command.id, { history: { epoch, offset: top, publications } });
  return command;
}

function live(t, publications = [], offset = publications.at(0)?.offset ?? 0) {
  connect(t);
  join({ offset });
  history(publications);
}

test("joins without recover, shows recent history oldest first", (t) => {
  connect(t);
  assert.deepEqual(join({ offset: 12 }), { id: 2, channel: "lobby" });
  assert.deepEqual(history([pub(12), pub(7), pub(3)]), { id: 3, channel: "lobby", limit: 50, reverse: true });
  assert.deepEqual(shown(), ["m3", "m7", "m12"]);
  assert.equal(room.loaded, true);
});

test("a newcomer gets fifty messages even if they are too big for one page", (t) => {
  connect(t);
  join({ offset: 90 });
  const page = (from, to) => Array.from({ length: from - to + 1 }, (_, i) => pub(from - i));
  historyPage(page(90, 61));
  const { since, limit } = historyPage(page(60, 41));
  assert.deepEqual({ since, limit }, { since: { offset: 61, epoch: "e1" }, limit: 20 });
  assert.equal(socket().waiting, 0);
  assert.equal(shown().length, 50);
});

test("what arrives while history loads is shown once and in order", (t) => {
  connect(t);
  join({ offset: 12 });
  push(pub(13), pub(20));
  history([pub(20), pub(13), pub(12)]);
  push(pub(21));
  assert.deepEqual(shown(), ["m12", "m13", "m20", "m21"]);
});

test("pushes in the frame of the subscribe reply are not lost", (t) => {
  connect(t);
  const { id } = socket().next("subscribe");
  socket().write({ id, subscribe: { recoverable: true, epoch: "e1", offset: 4 } }, { push: { channel: "lobby", pub: pub(5) } });
  history([pub(4)]);
  assert.deepEqual(shown(), ["m4", "m5"]);
});

test("resumes from the last offset and takes what was missed, in the reply and after it", (t) => {
  live(t, [pub(5)]);
  push(pub(9));
  reconnect();
  const asked = join({ recovered: true, was_recovering: true, offset: 30, publications: [pub(11), pub(17)] });
  assert.deepEqual(asked, { id: asked.id, channel: "lobby", recover: true, offset: 9, epoch: "e1" });
  push(pub(25), pub(30));
  assert.deepEqual(shown(), ["m5", "m9", "m11", "m17", "m25", "m30"]);
  assert.equal(socket().waiting, 0);
});

test("a recovery cut short resumes from what arrived, not from where the room was", (t) => {
  live(t, [pub(5)]);
  reconnect();
  join({ recovered: true, offset: 30, publications: [pub(11)] });
  reconnect();
  assert.equal(join({ recovered: true }).offset, 11);
});

test("a resume of an empty room asks to recover from offset 0", (t) => {
  live(t);
  reconnect();
  const { recover, offset, epoch } = join({ recovered: true });
  assert.deepEqual({ recover, offset, epoch }, { recover: true, offset: 0, epoch: "e1" });
  assert.deepEqual(shown(), []);
});

test("history that was not there before the connection broke is loaded after the resume", (t) => {
  connect(t);
  join({ offset: 5 });
  push(pub(6));
  reconnect();
  join({ recovered: true, publications: [pub(8)] });
  history([pub(8), pub(6), pub(5)]);
  assert.deepEqual(shown(), ["m5", "m6", "m8"]);
});

test("after a failed recovery in the same epoch the gap is marked once and nothing is repeated", (t) => {
  live(t, [pub(5), pub(3)]);
  reconnect();
  join({ offset: 90 });
  push(pub(91));
  historyPage([pub(91), pub(90), pub(80)]);
  historyPage([pub(5), pub(3)]);
  assert.deepEqual(shown(), ["m3", "m5", "GAP", "m80", "m90", "m91"]);
  assert.equal(socket().waiting, 0);
  reconnect();
  assert.equal(join({ recovered: true }).offset, 91);
});

test("history after a gap is read back page by page until it meets what is shown", (t) => {
  live(t, [pub(5)]);
  reconnect();
  join({ offset: 400 });
  assert.deepEqual(historyPage([pub(400), pub(300)]).since, undefined);
  assert.deepEqual(historyPage([pub(200), pub(100)]).since, { offset: 300, epoch: "e1" });
  historyPage([]);
  assert.deepEqual(shown(), ["m5", "GAP", "m100", "m200", "m300", "m400"]);
});

test("a new epoch is marked, and its offsets are not compared with the old ones", (t) => {
  live(t, [pub(50)]);
  reconnect();
  join({ epoch: "e2", offset: 3 });
  history([pub(3, "new 3"), pub(2, "new 2")], "e2");
  push(pub(50, "new 50"));
  assert.deepEqual(shown(), ["m50", "GAP", "new 2", "new 3", "new 50"]);
  reconnect();
  const { offset, epoch } = join({ epoch: "e2", recovered: true });
  assert.deepEqual({ offset, epoch }, { offset: 50, epoch: "e2" });
});

test("an epoch that comes back does not repeat what was shown of it", (t) => {
  live(t, [pub(5)]);
  reconnect();
  join({ epoch: "e2" });
  history([], "e2");
  reconnect();
  join({ epoch: "e1", offset: 6 });
  history([pub(6), pub(5)]);
  assert.deepEqual(shown(), ["m5", "GAP", "m6"]);
});

test("a recovery that names another epoch is not believed", (t) => {
  live(t, [pub(5)]);
  reconnect();
  join({ epoch: "e2", recovered: true, offset: 5 });
  assert.deepEqual(shown(), ["m5", "GAP"]);
});

test("a room that keeps nothing is joined afresh, with a gap", (t) => {
  connect(t);
  join({ recoverable: undefined, epoch: undefined, offset: undefined });
  socket().fail(socket().next("history").id, 108, "not available");
  push({ data: pub(0).data }, { data: pub(0).data });
  assert.match(room.notice, /not available/);
  reconnect();
  assert.equal(join({ recoverable: undefined }).recover, undefined);
  assert.deepEqual(shown(), ["m0", "m0", "GAP"]);
});

test("a permanent subscribe error is told and ends the attempts until asked again", (t) => {
  connect(t);
  socket().fail(socket().next("subscribe").id, 103, "permission denied");
  assert.equal(room.phase, "refused");
  assert.match(room.notice, /not allowed/);
  room.send("hello");
  assert.deepEqual(fates(), ["failed"]);
  t.mock.timers.tick(30_000);
  assert.equal(socket().waiting, 0);
  room.join();
  join();
  history([]);
  assert.equal(room.phase, "live");
  assert.equal(room.notice, "");
});

test("a temporary subscribe error is told and tried again", (t) => {
  connect(t);
  socket().fail(socket().next("subscribe").id, 100, "internal server error", true);
  assert.match(room.notice, /internal problem/);
  t.mock.timers.tick(1_000);
  join();
  assert.equal(room.phase, "live");
});

test("unsubscribe 2500 resumes after a pause, below 2500 it is final", (t) => {
  live(t, [pub(5)]);
  socket().push("lobby", { unsubscribe: { code: 2500, reason: "insufficient state" } });
  assert.equal(socket().waiting, 0);
  t.mock.timers.tick(1_000);
  assert.equal(join({ recovered: true, publications: [pub(6)] }).offset, 5);
  assert.deepEqual(shown(), ["m5", "m6"]);
  socket().push("lobby", { unsubscribe: { code: 2000, reason: "you were removed" } });
  t.mock.timers.tick(20_000);
  assert.equal(room.phase, "refused");
  assert.match(room.notice, /you were removed/);
});

test("a sent message is shown once, whether its publication or the reply comes first", (t) => {
  live(t);
  for (const replyFirst of [true, false]) {
    room.send(`hello ${replyFirst}`);
    const { id, data } = socket().next("publish");
    const key = room.outbox.entries[0].key;
    if (replyFirst) socket().reply(id, { publish: {} });
    push({ offset: replyFirst ? 1 : 2, data });
    if (!replyFirst) socket().reply(id, { publish: {} });
    assert.deepEqual(fates(), []);
    assert.equal(room.log.items.at(-1).key, key);
    assert.equal(room.log.items.at(-1).mine, true);
  }
  assert.deepEqual(shown(), ["hello true", "hello false"]);
});

test("messages go one after the other", (t) => {
  live(t);
  room.send("one");
  room.send("two");
  const first = socket().next("publish");
  assert.equal(first.data.text, "one");
  assert.equal(socket().waiting, 0);
  socket().reply(first.id, { publish: {} });
  assert.equal(socket().next("publish").data.text, "two");
});

test("a message written without a connection is sent after the next resume", (t) => {
  live(t, [pub(5)]);
  socket().end(1006);
  room.send("later");
  assert.deepEqual(fates(), ["queued"]);
  client.wake();
  socket().welcome();
  join({ recovered: true });
  assert.equal(socket().next("publish").data.text, "later");
});

test("a message in flight that arrived is found by the resume and not sent again", (t) => {
  live(t, [pub(5)]);
  room.send("hello");
  const { data } = socket().next("publish");
  reconnect();
  assert.deepEqual(fates(), ["unknown"]);
  join({ recovered: true, publications: [{ offset: 6, data }] });
  assert.deepEqual(fates(), []);
  assert.deepEqual(shown(), ["m5", "hello"]);
  assert.equal(socket().waiting, 0);
});

test("a message in flight whose publication is still on its way is found in history", (t) => {
  live(t, [pub(5)]);
  room.send("hello");
  const { data } = socket().next("publish");
  reconnect();
  join({ recovered: true });
  assert.deepEqual(historyPage([pub(6), { offset: 7, data }]).since, { offset: 5, epoch: "e1" });
  push(pub(6), { offset: 7, data });
  assert.deepEqual(shown(), ["m5", "m6", "hello"]);
  assert.equal(socket().waiting, 0);
});

test("a message in flight that did not arrive is sent again with its id, before later ones", (t) => {
  live(t, [pub(5)]);
  room.send("hello");
  const { data } = socket().next("publish");
  reconnect();
  room.send("next");
  join({ recovered: true });
  historyPage([pub(6)]);
  assert.equal(socket().waiting, 1);
  historyPage([]);
  const again = socket().next("publish");
  assert.deepEqual(again.data, data);
  socket().reply(again.id, { publish: {} });
  assert.equal(socket().next("publish").data.text, "next");
});

test("the look for a message that fails for a while is repeated", (t) => {
  live(t, [pub(5)]);
  room.send("hello");
  socket().next("publish");
  reconnect();
  join({ recovered: true });
  socket().fail(socket().next("history").id, 100, "internal server error", true);
  assert.deepEqual(fates(), ["unknown"]);
  t.mock.timers.tick(1_000);
  history([]);
  assert.equal(socket().next("publish").data.text, "hello");
});

test("a message in flight across a gap is left to the user, who may send it again", (t) => {
  live(t, [pub(5)]);
  room.send("hello");
  const { data } = socket().next("publish");
  reconnect();
  join({ epoch: "e2" });
  history([], "e2");
  assert.deepEqual(fates(), ["unsure"]);
  assert.equal(socket().waiting, 0);
  room.retry(room.outbox.entries[0]);
  assert.deepEqual(socket().next("publish").data, data);
});

test("a message in flight across a gap that history has is shown and done", (t) => {
  live(t, [pub(5)]);
  room.send("hello");
  const { data } = socket().next("publish");
  reconnect();
  join({ offset: 9 });
  historyPage([{ offset: 9, data }]);
  historyPage([pub(5)]);
  assert.deepEqual(fates(), []);
  assert.deepEqual(shown(), ["m5", "GAP", "hello"]);
});

test("a message the server accepted and then forgot is not called sent", (t) => {
  live(t, [pub(5)]);
  room.send("hello");
  socket().reply(socket().next("publish").id, { publish: {} });
  assert.deepEqual(fates(), ["accepted"]);
  reconnect();
  join({ epoch: "e2" });
  history([], "e2");
  assert.deepEqual(fates(), ["unsure"]);
});

test("a refused message stays, with the reason, until it is retried or removed", (t) => {
  live(t);
  room.send("one");
  room.send("two");
  socket().fail(socket().next("publish").id, 111, "too many requests", true);
  socket().fail(socket().next("publish").id, 107, "bad request");
  assert.deepEqual(fates(), ["failed", "failed"]);
  assert.match(room.outbox.entries[0].reason, /too many messages/);
  room.retry(room.outbox.entries[0]);
  assert.equal(socket().next("publish").data.text, "one");
  room.discard(room.outbox.entries[1]);
  assert.equal(room.outbox.entries.length, 1);
});

test("an internal error leaves a message's fate open, so a retry looks first", (t) => {
  live(t, [pub(5)]);
  room.send("hello");
  const { id, data } = socket().next("publish");
  socket().fail(id, 100, "internal server error", true);
  assert.deepEqual(fates(), ["unsure"]);
  room.retry(room.outbox.entries[0]);
  history([{ offset: 6, data }]);
  assert.deepEqual(fates(), []);
  assert.equal(socket().waiting, 0);
});

test("the same message at two offsets is shown once, different ones with one id are not confused", (t) => {
  live(t);
  const data = { id: "0123456789abcdef0123456789abcdef", name: "Ann", text: "hi", time: 1 };
  push({ offset: 1, data }, { offset: 2, data }, { offset: 3, data: { ...data, text: "other" } });
  assert.deepEqual(shown(), ["hi", "other"]);
});

test("a message that is too long is refused with its size", (t) => {
  live(t);
  assert.match(room.send("ü".repeat(33_000)), /too long/);
  assert.equal(room.send("x".repeat(65_000)), null);
  assert.equal(socket().waiting, 1);
});

test("the list keeps the newest messages and does not take trimmed ones back", (t) => {
  live(t);
  push(...Array.from({ length: MAX_ITEMS + 10 }, (_, i) => pub(i + 1)));
  assert.equal(room.log.items.length, MAX_ITEMS);
  assert.equal(room.log.items[0].offset, 11);
  reconnect();
  join({ recovered: true, publications: [pub(4)] });
  assert.equal(room.log.items[0].offset, 11);
});

test("unsent messages survive a reload of the page, for the user to decide", (t) => {
  live(t);
  room.send("flying");
  room.send("waiting");
  const saved = JSON.parse(JSON.stringify(room.outbox.saved()));
  room = new Room({ name: "lobby", client, author: () => "Me", onChange() {} });
  room.outbox.restore(saved);
  assert.deepEqual(fates(), ["unsure", "failed"]);
});

test("a room that was left neither shows nor asks anything", (t) => {
  connect(t);
  join({ offset: 5 });
  const { id } = socket().next("history");
  room.leave();
  assert.equal(socket().next("unsubscribe").channel, "lobby");
  socket().reply(id, { history: { epoch: "e1", publications: [pub(5)] } });
  push(pub(6));
  assert.deepEqual(shown(), []);
  assert.equal(socket().waiting, 0);
});
