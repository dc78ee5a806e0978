import assert from "node:assert/strict";
import { test } from "node:test";

import { byteLength, compose, read } from "../../chat-node/src/web/message.js";
import { roomInAddress, roomProblem } from "../../chat-node/src/web/settings.js";
import { closeWords, errorWords } from "../../chat-node/src/web/words.js";

const NOW = Date.UTC(2026, 5, 1);
const readData = (data, info) => read({ data, info }, NOW);

test("what the page composes it reads back", () => {
  const data = compose("Ann", "hi", NOW);
  assert.match(data.id, /^[0-9a-f]{32}$/);
  assert.deepEqual(readData(data), { id: data.id, name: "Ann", user: "", text: "hi", time: NOW });
});

for (const [data, text] of [
  ["hello", '"hello"'],
  [null, "null"],
  [42, "42"],
  [[1, 2], "[1,2]"],
  [{ text: 5 }, '{"text":5}'],
  [{ text: "" }, '{"text":""}'],
  [{ message: "<b>" }, '{"message":"<b>"}'],
]) {
  test(`the foreign shape ${text} is shown as JSON, of nobody known`, () => {
    assert.deepEqual(readData(data), { id: null, name: "", user: "", text, time: null });
  });
}

test("data nested so deeply that it cannot be written is still a message", () => {
  const deep = JSON.parse("[".repeat(30_000) + "]".repeat(30_000));
  assert.equal(typeof readData(deep).text, "string");
});

test("fields of wrong types are ignored, the text is kept", () => {
  const message = readData({ id: 7, name: { a: 1 }, text: "hi", time: "soon" }, { user: 5 });
  assert.deepEqual(message, { id: null, name: "", user: "", text: "hi", time: null });
});

test("the server's user is kept beside the name that the sender claims", () => {
  assert.equal(readData({ name: "Ann", text: "hi" }, { user: "u42" }).user, "u42");
});

for (const time of [0, -1, NaN, 1e20, NOW + 3 * 86_400_000, "9999-01-01T00:00:00Z", true, null, {}]) {
  test(`the absurd time ${JSON.stringify(time)} is ignored`, () => {
    assert.equal(readData({ text: "hi", time }).time, null);
  });
}

test("an ISO time is understood", () => {
  assert.equal(readData({ text: "hi", time: "2026-05-31T12:00:00Z" }).time, Date.UTC(2026, 4, 31, 12));
});

test("long names are shortened without cutting a character in two", () => {
  assert.equal(readData({ text: "hi", name: "😀".repeat(100) }).name, `${"😀".repeat(64)}…`);
});

test("sizes are counted in bytes of the JSON", () => {
  assert.equal(byteLength({ text: "ü" }), 13);
});

test("the address names a room by hash or query", () => {
  assert.equal(roomInAddress({ hash: "#b%C3%BCro", search: "" }), "büro");
  assert.equal(roomInAddress({ hash: "", search: "?room=chat%3Aa" }), "chat:a");
  assert.equal(roomInAddress({ hash: "#100%", search: "" }), "100%");
  assert.equal(roomInAddress({ hash: "#", search: "" }), "");
});

test("a room's name has 1 to 255 bytes", () => {
  assert.notEqual(roomProblem(""), null);
  assert.equal(roomProblem("r".repeat(255)), null);
  assert.match(roomProblem("ü".repeat(128)), /256 bytes/);
});

test("errors are told in words with their code", () => {
  assert.equal(errorWords({ code: 111, message: "too many requests" }), "too many messages in a short time; wait a moment (111)");
  assert.equal(errorWords({ code: 107, message: "room name is empty" }), "the server does not accept this (107: room name is empty)");
  assert.equal(errorWords({ code: 4711, message: "out of tea" }), "out of tea (4711)");
  assert.equal(closeWords(3503, "force disconnect"), "the server ended it on purpose (3503: force disconnect)");
  assert.equal(closeWords(4999, ""), "error 4999");
});

test("who is not let in is told so in words of a person", () => {
  const words = closeWords(101, "unauthorized: connect with a token: this node lets nobody in without");
  assert.match(words, /^this server lets nobody in without a login.* \(101\)$/);
  assert.doesNotMatch(words, /token|node|unauthorized/);
  assert.equal(closeWords(106, "limit exceeded: at most 2 rooms a session"), "a limit of the server is reached (106: limit exceeded: at most 2 rooms a session)");
  assert.equal(closeWords(103, "permission denied"), "you are not allowed to do this here (103)");
});
