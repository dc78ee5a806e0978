// Networks that let WebSockets through badly or not at all.

import assert from 'node:assert/strict';
import { HttpProxy } from '../http_proxy.mjs';
import { messages, publish } from '../stage.mjs';

/** Clients behind a proxy that refuses some ways connect by `transport`, and all works as ever, a cut included. */
async function talksBy(stage, transport, refused) {
  const proxy = await HttpProxy.to(stage.url, refused);
  const [writer, reader] = await Promise.all([
    stage.connected('writer', { url: proxy.url, minReconnectDelay: 100, maxReconnectDelay: 500 }),
    stage.connected('reader', { url: proxy.url, minReconnectDelay: 100, maxReconnectDelay: 500 }),
  ]);
  for (const { connected } of [writer, reader]) assert.equal(connected[0].transport, transport);
  const [writing, room] = await Promise.all([writer.join('room'), reader.join('room')]);
  const sent = messages('writer', 30);
  await publish(writing, sent.slice(0, 10));
  await room.got(sent.slice(0, 10));
  assert.deepEqual((await room.sub.history({ limit: -1 })).publications.map(({ data }) => data), sent.slice(0, 10));
  proxy.cut();
  await stage.until('both notice', () => [writer, reader].every(({ connecting }) => connecting.length >= 2));
  proxy.heal();
  await Promise.all([writing, room].map((each) => each.isSubscribed(2)));
  assert.deepEqual([room.subscribed.at(-1).wasRecovering, room.subscribed.at(-1).recovered], [true, true]);
  await publish(writing, sent.slice(10));
  await room.got(sent);
  await writing.got(sent);
}

export async function a_proxy_without_upgrades_is_passed_by_http_stream(stage) {
  await talksBy(stage, 'http_stream', ['upgrade']);
}

export async function a_proxy_without_upgrades_and_streamed_posts_is_passed_by_sse(stage) {
  await talksBy(stage, 'sse', ['upgrade', '/connection/http_stream']);
}
