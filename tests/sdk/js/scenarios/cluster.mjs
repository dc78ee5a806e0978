// Several nodes over NATS. The first URL is the writer's.

import assert from 'node:assert/strict';
import { Proxy } from '../proxy.mjs';
import { messages, publish } from '../stage.mjs';

const QUICK = { minReconnectDelay: 100, maxReconnectDelay: 500 };

/** A reader that is led from node to node gets everything once, in order. */
export async function every_node_goes_on_where_another_one_stopped(stage) {
  const proxy = await Proxy.to(stage.urls[1]);
  const [writer, reader] = await Promise.all([stage.connected('writer', QUICK), stage.connected('reader', { url: proxy.url, ...QUICK })]);
  const [writing, room] = await Promise.all([writer.join('room'), reader.join('room')]);
  const sent = messages('writer', 60);
  await publish(writing, sent.slice(0, 10));
  await room.got(sent.slice(0, 10));
  for (const [round, url] of [stage.urls[2], stage.urls[0], stage.urls[1]].entries()) {
    proxy.cut();
    await stage.until('the reader notices', () => reader.connecting.length >= round + 2);
    const [from, now] = [10 + round * 10, 20 + round * 10];
    await publish(writing, sent.slice(from, now));
    proxy.leadTo(url);
    proxy.heal();
    await room.isSubscribed(round + 2);
    const { wasRecovering, recovered } = room.subscribed.at(-1);
    assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: true });
    await room.got(sent.slice(0, now));
  }
  // What it says itself comes back to it, too.
  await publish(room, sent.slice(40));
  for (const each of [room, writing]) await each.got(sent);
}

/** What a client asks may come to another node than the one that has its stream. */
export async function commands_come_to_any_node(stage) {
  const emulationEndpoint = stage.urls[0].replace(/^ws/, 'http').replace('/connection/websocket', '/emulation');
  const client = await stage.connected('far away', { url: stage.urls[1], emulationEndpoint, ...QUICK });
  const room = await client.join('room');
  const sent = messages('far away', 20);
  await publish(room, sent);
  await room.got(sent);
  const { publications } = await room.sub.history({ limit: 100 });
  assert.equal(publications.length, sent.length);
  assert.equal(client.connecting.length, 1, 'it never had to connect anew');
}
