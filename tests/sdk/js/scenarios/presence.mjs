// Who is there.

import assert from 'node:assert/strict';

const ids = (clients) => clients.map((client) => client.connected.at(-1).client).sort();

export async function presence_and_its_numbers(stage) {
  const clients = await Promise.all(['anna', 'ben', 'cy'].map((name) => stage.connected(name)));
  const rooms = await Promise.all(clients.map((client) => client.join('room')));
  const { clients: present } = await rooms[0].sub.presence();
  assert.deepEqual(Object.keys(present).sort(), ids(clients));
  for (const [id, info] of Object.entries(present)) {
    assert.equal(info.client, id);
    assert.equal(info.user, '');
  }
  assert.deepEqual(await rooms[1].sub.presenceStats(), { numClients: 3, numUsers: 1 });
  rooms[2].sub.unsubscribe();
  await stage.until('cy has left', () => rooms[2].unsubscribed.length === 1);
  const rest = await clients[0].sdk.presence('room');
  assert.deepEqual(Object.keys(rest.clients).sort(), ids(clients.slice(0, 2)));
}

export async function joins_and_leaves_are_events(stage) {
  const anna = await stage.connected('anna');
  const told = [];
  const room = anna.enter('live:room', { joinLeave: true });
  for (const event of ['join', 'leave']) {
    room.sub.on(event, ({ channel, info }) => {
      told.push([event, channel, info.client, info.user]);
      stage.note(event, info);
    });
  }
  await room.isSubscribed();
  const ben = await stage.connected('ben');
  const bens = await ben.join('live:room');
  const [annas, id] = [anna.connected[0].client, ben.connected[0].client];
  await stage.until('anna saw two come', () => told.length === 2);
  bens.sub.unsubscribe();
  await stage.until('anna saw ben leave', () => told.length === 3);
  await ben.sdk.disconnect();
  assert.deepEqual(told, [
    ['join', 'live:room', annas, ''],
    ['join', 'live:room', id, ''],
    ['leave', 'live:room', id, ''],
  ]);
  // Still all ears: an event that the SDK cannot read would have ended it.
  await room.sub.publish('on');
  await room.ends('on');
  assert.equal(anna.connected.length, 1);
}
