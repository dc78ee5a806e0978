// The node pings, dies, shuts down, freezes, or is full.

import assert from 'node:assert/strict';
import { keepsOrder, messages, publish } from '../stage.mjs';

const flags = ({ wasRecovering, recovered }) => ({ wasRecovering, recovered });

/** Several ping intervals long, under traffic and in silence: nobody is closed. */
export async function pings_keep_the_connection(stage) {
  const options = { maxServerPingDelay: 2_000 };
  const [writer, reader, idle] = await Promise.all(['writer', 'reader', 'idle'].map((name) => stage.connected(name, options)));
  const [writing, room] = await Promise.all([writer.join('room'), reader.join('room')]);
  const pings = (client) => client.sockets.flatMap((socket) => socket.received).filter((frame) => ['{}', '\0'].includes(frame.trim())).length;
  const clients = [writer, reader, idle];
  const sent = [];
  const traffic = setInterval(() => {
    sent.push({ n: sent.length });
    writing.sub.publish(sent.at(-1));
  }, 30);
  await stage.until('everybody was pinged 3x', () => clients.every((client) => pings(client) >= 3));
  clearInterval(traffic);
  await room.got(sent);
  for (const client of clients) assert.equal(client.connecting.length, 1, `${client.name} stayed connected`);
}

/** The same where pongs are requests of their own. */
export async function pings_keep_a_stream(stage) {
  const options = { maxServerPingDelay: 2_000 };
  const [writer, idle] = await Promise.all(['writer', 'idle'].map((name) => stage.connected(name, options)));
  const writing = await writer.join('room');
  const sent = [];
  // Pings come each second, and each must be answered within less.
  for (const until = Date.now() + 5_000; Date.now() < until; await new Promise((resolve) => setTimeout(resolve, 100))) {
    sent.push({ n: sent.length });
    await writing.sub.publish(sent.at(-1));
  }
  await writing.got(sent);
  for (const client of [writer, idle]) assert.equal(client.connecting.length, 1, `${client.name} stayed connected`);
}

/** The embedded broker forgets when the node dies: the SDK is told, and goes on. */
export async function killed_node_comes_back(stage) {
  const [writer, reader] = await Promise.all(['writer', 'reader'].map((name) => stage.connected(name, { maxReconnectDelay: 1_000 })));
  const [writing, room, silent] = await Promise.all([writer.join('room'), reader.join('room'), reader.join('silent')]);
  const before = messages('before', 10);
  await publish(writing, before);
  await room.got(before);
  const { epoch } = room.subscribed[0].streamPosition;
  await stage.driver('KILL');
  await stage.until('the clients notice', () => writer.connecting.length === 2 && reader.connecting.length === 2);
  await stage.driver('RESTART');
  await Promise.all([writing, room, silent].map((each) => each.isSubscribed(2)));
  for (const each of [writing, room, silent]) {
    assert.deepEqual(flags(each.subscribed[1]), { wasRecovering: true, recovered: false }, each.who);
    assert.deepEqual(each.subscribed[1].hasRecoveredPublications, false);
  }
  assert.notEqual(room.subscribed[1].streamPosition.epoch, epoch, 'a new incarnation');
  room.publications.length = 0;
  const after = messages('after', 20);
  await publish(writing, after);
  await room.got(after);
  // From now on recovery works as ever.
  await reader.leaves();
  await publish(writing, messages('later', 5));
  reader.sdk.connect();
  await room.isSubscribed(3);
  assert.deepEqual(flags(room.subscribed[2]), { wasRecovering: true, recovered: true });
  await room.got([...after, ...messages('later', 5)]);
}

/** An application that keeps its own state is asked for it exactly when the node cannot tell what was missed. */
export async function lost_history_has_the_state_loaded_again(stage) {
  const [writer, reader] = await Promise.all(['writer', 'reader'].map((name) => stage.connected(name, { maxReconnectDelay: 1_000 })));
  const writing = await writer.join('room');
  await publish(writing, messages('before', 3));
  let loaded = 0;
  const getState = async () => {
    loaded += 1;
    const { offset, epoch } = await writing.sub.history();
    return { offset, epoch };
  };
  const room = await reader.join('room', { getState });
  assert.equal(loaded, 1);
  await publish(writing, ['live']);
  await room.got(['live']);
  reader.sdk.disconnect();
  await publish(writing, ['missed']);
  reader.sdk.connect();
  await room.got(['live', 'missed']);
  assert.equal(loaded, 1, 'nothing was lost, so nothing was loaded');
  const subscribed = [writing, room].map((each) => each.subscribed.length);
  await stage.driver('KILL');
  await stage.driver('RESTART');
  await Promise.all([writing, room].map((each, index) => each.isSubscribed(subscribed[index] + 1)));
  assert.equal(loaded, 2, 'the node forgot, so the state was loaded again');
  room.publications.length = 0;
  await publish(writing, ['after']);
  await room.got(['after']);
}

export async function shutdown_says_so_and_loses_no_client(stage) {
  const clients = await Promise.all(['a', 'b', 'c'].map((name) => stage.connected(name, { maxReconnectDelay: 1_000 })));
  const rooms = await Promise.all(clients.map((client) => client.join('room')));
  await publish(rooms[0], ['before']);
  await Promise.all(rooms.map((room) => room.got(['before'])));
  await stage.driver('TERM');
  await stage.until('the clients are told', () => clients.every((client) => client.connecting.length >= 2));
  for (const { connecting, name } of clients) {
    assert.deepEqual([connecting[1].code, connecting[1].reason], [3001, 'shutdown'], name);
  }
  await stage.driver('RESTART');
  await Promise.all(rooms.map((room) => room.isSubscribed(2)));
  for (const room of rooms) room.publications.length = 0;
  await publish(rooms[0], ['after']);
  await Promise.all(rooms.map((room) => room.got(['after'])));
}

/** A node that stands still for longer than SDKs wait is left and found again, without loss. */
export async function frozen_node_loses_nothing(stage) {
  const options = { timeout: 2_000, maxServerPingDelay: 300, maxReconnectDelay: 500 };
  const [writer, reader] = await Promise.all(['writer', 'reader'].map((name) => stage.connected(name, options)));
  const [writing, room] = await Promise.all([writer.join('room'), reader.join('room')]);
  const sent = messages('writer', 10);
  await publish(writing, sent);
  await room.got(sent);
  await stage.driver('STOP');
  // In flight when the connection is given up: the application hears that it does not know.
  const inFlight = messages('in flight', 5).map((data) => writing.sub.publish(data).then(() => true, () => false));
  await stage.until('the clients miss the ping', () => [writer, reader].every(({ connecting }) => connecting.length >= 2));
  for (const { connecting } of [writer, reader]) assert.equal(connecting[1].reason, 'no ping');
  await stage.driver('CONT');
  await Promise.all([writing, room].map((each) => each.isSubscribed(2)));
  const acknowledged = await Promise.all(inFlight);
  for (const each of [writing, room]) {
    assert.deepEqual(flags(each.subscribed.at(-1)), { wasRecovering: true, recovered: true }, each.who);
  }
  await publish(writing, ['end']);
  await Promise.all([writing, room].map((each) => each.ends('end')));
  for (const each of [writing, room]) {
    each.ascends();
    const doubtful = each.data.filter((data) => data.sender === 'in flight');
    const missing = acknowledged.filter((done, index) => done && !doubtful.some(({ n }) => n === index + 1));
    assert.deepEqual(missing, [], `${each.who}: what was acknowledged is there`);
    assert.deepEqual(each.data, [...sent, ...doubtful, 'end'], each.who);
    const ofEach = new Set(doubtful.map(({ n }) => n));
    assert.equal(ofEach.size, doubtful.length, `${each.who}: each at most once`);
    if (keepsOrder(writer)) assert.deepEqual(doubtful, messages('in flight', doubtful.length), `${each.who}: in order`);
  }
  assert.deepEqual(writing.data, room.data, 'both saw the same');
}

/** Beside two connections a third has to wait, and gets in by itself when one leaves. */
export async function full_node_lets_in_later(stage) {
  const [one] = await Promise.all(['one', 'two'].map((name) => stage.connected(name)));
  const third = stage.client('third', { minReconnectDelay: 100, maxReconnectDelay: 500 });
  const room = third.enter('room');
  third.sdk.connect();
  await stage.until('the third is turned away twice', () => third.errors.length >= 2);
  for (const { type, error } of third.errors) assert.deepEqual([type, error.code], ['connect', 111]);
  assert.equal(third.sdk.state, 'connecting');
  one.sdk.disconnect();
  await room.isSubscribed();
  await publish(room, ['in']);
  await room.got(['in']);
  assert.deepEqual(third.disconnected, [], 'a full node is never terminal');
}
