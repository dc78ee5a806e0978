// What is refused reaches the application with the documented code, and nothing else breaks.

import assert from 'node:assert/strict';
import { messages, publish, refused } from '../stage.mjs';

export async function errors_have_their_codes(stage) {
  const client = await stage.connected('client');
  const room = await client.join('room');
  const { sdk } = client;
  const cases = [
    ['publish without subscribe', () => sdk.publish('elsewhere', 1), 103],
    ['history without subscribe', () => sdk.history('elsewhere', { limit: 1 }), 103],
    ['publish to an unknown class', () => sdk.publish('unknown:room', 1), 102],
    ['publish to a room with a name too long', () => sdk.publish('r'.repeat(256), 1), 107],
    ['a message too large', () => room.sub.publish('x'.repeat(70_000)), 106],
    ['a message nested too deep', () => room.sub.publish(JSON.parse('['.repeat(300) + ']'.repeat(300))), 107],
    ['history of another epoch', () => room.sub.history({ limit: 1, since: { offset: 1, epoch: 'other' } }), 112],
    ['rpc', () => sdk.rpc('chat.send', { x: 1 }), 108],
    ['presence elsewhere', () => sdk.presence('other'), 103],
  ];
  for (const [what, act, code] of cases) {
    const error = await refused(act());
    assert.equal(error.code, code, `${what}: ${JSON.stringify(error)}`);
    assert.ok(error.message, `${what}: the error says why`);
  }
  for (const [channel, code] of [['r'.repeat(256), 107], ['unknown:room', 102]]) {
    const refusedRoom = client.enter(channel);
    await stage.until(`${channel} is refused`, () => refusedRoom.unsubscribed.length === 1);
    assert.equal(refusedRoom.unsubscribed[0].code, code);
  }
  await publish(room, ['still here']);
  await room.got(['still here']);
  assert.equal(client.connecting.length, 1, 'the connection stayed');
}

export async function room_129_is_refused(stage) {
  const client = await stage.connected('client');
  const rooms = await Promise.all(Array.from({ length: 128 }, (_, index) => client.join(`room-${index}`)));
  const extra = client.enter('one-too-many');
  await stage.until('room 129 is refused', () => extra.unsubscribed.length === 1);
  assert.equal(extra.unsubscribed[0].code, 106);
  await publish(rooms[127], ['still here']);
  await rooms[127].got(['still here']);
  rooms[0].sub.unsubscribe();
  extra.sub.subscribe();
  await extra.isSubscribed();
  assert.equal(client.connecting.length, 1, 'the connection stayed');
}

export async function publish_rate_is_limited(stage) {
  const [writer, reader] = await Promise.all([stage.connected('writer'), stage.connected('reader')]);
  const [room, reading] = await Promise.all([writer.join('room'), reader.join('room')]);
  const sent = messages('writer', 120);
  const outcomes = await Promise.all(sent.map((data) => room.sub.publish(data).then(() => null, (error) => error)));
  const refusals = outcomes.filter((error) => error);
  assert.ok(refusals.length > 0 && refusals.length <= 70, `50 of 120 at once are allowed: ${refusals.length} refused`);
  assert.deepEqual([...new Set(refusals.map(({ code }) => code))], [111]);
  assert.ok(refusals.every(({ temporary }) => temporary), 'the application may try again');
  // The rate lets publishes through again by itself.
  while (!(await room.sub.publish('again').then(() => true, () => false)));
  await reading.got([...sent.filter((_, index) => !outcomes[index]), 'again']);
  assert.equal(writer.connecting.length, 1, 'the connection stayed');
}
