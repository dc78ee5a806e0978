// What a backend does with sessions that are connected. NATTER_API names the nodes' server APIs, NATTER_API_KEY is their key.

import assert from 'node:assert/strict';
import { Proxy } from '../proxy.mjs';
import { decoded } from '../sdks.mjs';
import { token } from '../token.mjs';

const QUICK = { minReconnectDelay: 100, maxReconnectDelay: 500 };
let calls = 0;

/** Calls a method, at one node after the other. */
async function call(method, params) {
  const urls = process.env.NATTER_API.split(',');
  const headers = { 'X-API-Key': process.env.NATTER_API_KEY };
  calls += 1;
  const answer = await fetch(`${urls[calls % urls.length]}/${method}`, { method: 'POST', headers, body: JSON.stringify(params) });
  const { result, error } = await answer.json();
  assert.equal(error, undefined, `${method}: ${JSON.stringify(error)}`);
  return result;
}

/** What a client is told of rooms that it has not asked for. */
function told(stage, client) {
  const heard = { subscribed: [], unsubscribed: [], publications: [] };
  for (const [event, list] of [['subscribed', heard.subscribed], ['unsubscribed', heard.unsubscribed], ['publication', heard.publications]]) {
    client.sdk.on(event, (context) => {
      list.push('data' in context ? { ...context, data: decoded(context.data) } : context);
      stage.note(client.name, event, context);
    });
  }
  return heard;
}

/** The room is the session's: a new connection has it if its token names it, or if the backend says so again. */
export async function who_is_put_into_a_room_recovers_it(stage) {
  const proxy = await Proxy.to(stage.at(1));
  const ann = stage.client('ann', { url: proxy.url, token: token({ sub: 'ann' }), ...QUICK });
  const heard = told(stage, ann);
  ann.sdk.connect();
  await ann.isConnected();
  const room = { user: 'ann', channel: 'given:news' };
  const says = async (...numbers) => {
    for (const data of numbers) await call('publish', { channel: room.channel, data });
  };
  const got = async (...numbers) => {
    await stage.until(`${numbers.at(-1)} has come`, () => heard.publications.at(-1)?.data === numbers.at(-1));
    assert.deepEqual(heard.publications.map(({ channel, data }) => [channel, data]), numbers.map((data) => [room.channel, data]));
  };
  // Away from its node, comes back to another one.
  const missed = async (node, ...numbers) => {
    const connections = ann.connecting.length;
    proxy.cut();
    await stage.until('the cut is noticed', () => ann.connecting.length > connections);
    await says(...numbers);
    proxy.leadTo(stage.at(node));
    proxy.heal();
  };

  await call('subscribe', { ...room, data: { why: 'invited' } });
  await stage.until('it is told', () => heard.subscribed.length === 1);
  const { channel, recoverable, positioned, streamPosition, wasRecovering, data } = heard.subscribed[0];
  assert.deepEqual({ channel, recoverable, positioned, wasRecovering, data }, { channel: room.channel, recoverable: true, positioned: true, wasRecovering: false, data: { why: 'invited' } });
  assert.ok(streamPosition.epoch);
  await says(1, 2, 3);
  await got(1, 2, 3);

  ann.sdk.setToken(token({ sub: 'ann', channels: [room.channel] }));
  await missed(2, 4, 5);
  await stage.until('the room is back', () => heard.subscribed.length === 2);
  assert.deepEqual([heard.subscribed[1].wasRecovering, heard.subscribed[1].recovered], [true, true]);
  await says(6);
  await got(1, 2, 3, 4, 5, 6);

  ann.sdk.setToken(token({ sub: 'ann' }));
  await missed(0, 7, 8);
  await stage.until('the room is gone', () => heard.unsubscribed.length === 1);
  const { offset } = heard.publications.at(-1);
  await call('subscribe', { ...room, recover_since: { offset, epoch: streamPosition.epoch } });
  await stage.until('it is told again', () => heard.subscribed.length === 3);
  await says(9);
  await got(1, 2, 3, 4, 5, 6, 7, 8, 9);

  await call('unsubscribe', room);
  await stage.until('it is told of the end', () => heard.unsubscribed.length === 2);
  await says(10);
  assert.equal(ann.disconnected.length, 0);
  await ann.leaves();
  assert.equal(heard.publications.length, 9);
}
