// The network between SDK and node breaks; the node stays.

import assert from 'node:assert/strict';
import { Proxy } from '../proxy.mjs';
import { messages, publish } from '../stage.mjs';

/** Reconnects quickly, so that a scenario is short; everything else as it comes. */
const QUICK = { minReconnectDelay: 100, maxReconnectDelay: 500 };

async function readerBehindProxy(stage, options = QUICK) {
  const proxy = await Proxy.to(stage.url);
  const [writer, reader] = await Promise.all([stage.connected('writer'), stage.connected('reader', { url: proxy.url, ...options })]);
  const [writing, room] = await Promise.all([writer.join('room'), reader.join('room')]);
  return { proxy, writing, reader, room };
}

function recovered(room) {
  const { wasRecovering, recovered } = room.subscribed.at(-1);
  assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: true });
}

export async function cut_network_costs_nothing(stage) {
  const { proxy, writing, reader, room } = await readerBehindProxy(stage, {});
  const sent = messages('writer', 60);
  await publish(writing, sent.slice(0, 5));
  await room.got(sent.slice(0, 5));
  proxy.cut();
  await stage.until('the reader notices', () => reader.connecting.length === 2);
  await publish(writing, sent.slice(5, 55));
  proxy.heal();
  await room.isSubscribed(2);
  recovered(room);
  await publish(writing, sent.slice(55));
  await room.got(sent);
}

/** Messages before, during and after each of several cuts, without a pause: each arrives once, in order. */
export async function cuts_under_traffic_lose_nothing(stage) {
  const { proxy, writing, reader, room } = await readerBehindProxy(stage);
  let stop = false;
  const sent = [];
  const publishing = (async () => {
    while (!stop) {
      const next = { n: sent.length, text: 'x'.repeat(1_000) };
      await writing.sub.publish(next);
      sent.push(next);
    }
  })();
  for (const times of [2, 3, 4]) {
    const before = room.publications.length;
    await stage.until('messages flow', () => room.publications.length > before + 20);
    proxy.cut();
    await stage.until('the reader notices', () => reader.connecting.length === times);
    proxy.heal();
    await room.isSubscribed(times);
    recovered(room);
  }
  stop = true;
  await publishing;
  await publish(writing, ['end']);
  await room.got([...sent, 'end']);
}

/** 2 MB were missed: more than one frame may carry. */
export async function large_recovery_is_complete(stage) {
  const { proxy, writing, reader, room } = await readerBehindProxy(stage);
  await publish(writing, ['before']);
  await room.got(['before']);
  proxy.cut();
  await stage.until('the reader notices', () => reader.connecting.length === 2);
  const missed = messages('writer', 50).map((message) => ({ ...message, text: 'ü'.repeat(20_000) }));
  await publish(writing, missed);
  proxy.heal();
  await room.isSubscribed(2);
  recovered(room);
  await publish(writing, ['after']);
  await room.got(['before', ...missed, 'after']);
  const largest = Math.max(...reader.sockets.flatMap((socket) => socket.received).map((frame) => Buffer.byteLength(frame)));
  assert.ok(largest < 1024 * 1024, `no frame above 1 MiB, as some SDKs refuse it: ${largest}`);
}

/** No close, no error, just silence: the SDK misses the ping and comes back, and nothing is lost. */
export async function silent_network_costs_nothing(stage) {
  const { proxy, writing, reader, room } = await readerBehindProxy(stage, { ...QUICK, timeout: 1_000, maxServerPingDelay: 500 });
  const sent = messages('writer', 30);
  await publish(writing, sent.slice(0, 5));
  await room.got(sent.slice(0, 5));
  proxy.silence();
  await publish(writing, sent.slice(5, 25));
  await stage.until('the reader misses the ping', () => reader.connecting.length === 2);
  assert.equal(reader.connecting[1].reason, 'no ping');
  proxy.heal();
  await room.isSubscribed(2);
  recovered(room);
  await publish(writing, sent.slice(25));
  await room.got(sent);
}

/** 128 rooms with long subscription tokens come back in one frame. */
export async function many_rooms_with_tokens_come_back(stage) {
  const { proxy, reader, writing } = await readerBehindProxy(stage);
  const tokenOf = (channel) => channel.padEnd(600, '.');
  const getToken = async ({ channel }) => tokenOf(channel);
  const names = Array.from({ length: 127 }, (_, index) => `room-${index}`);
  const rooms = await Promise.all(names.map((name, index) => reader.join(name, index % 2 ? { getToken } : { token: tokenOf(name) })));
  const writer = await stage.connected('second writer');
  const writers = await Promise.all(names.map((name) => writer.join(name)));
  proxy.cut();
  await stage.until('the reader notices', () => reader.connecting.length === 2);
  await Promise.all(writers.map((room) => room.sub.publish(`${room.channel} was missed`)));
  proxy.heal();
  await Promise.all(reader.rooms.map((room) => room.isSubscribed(2)));
  rooms.forEach(recovered);
  const [frame] = reader.socket.sent;
  assert.equal(frame.split('\n').length, 129, 'connect and all rooms in one frame');
  assert.ok(frame.length > 128 * 600, `the tokens went along: ${frame.length} bytes`);
  await Promise.all(writers.map((room) => room.sub.publish('live')));
  await Promise.all(rooms.map((room) => room.got([`${room.channel} was missed`, 'live'])));
  await publish(writing, ['end']);
  assert.equal(reader.connecting.length, 2, 'the connection stayed');
}
