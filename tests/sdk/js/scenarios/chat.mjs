// Connecting and talking.

import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { keepsOrder, messages, publish } from '../stage.mjs';

export async function connects_with_name_and_data(stage) {
  const options = { name: 'app', version: '1.2', data: { greeting: 'grüß\n"dich"', list: [1, null] } };
  const [one, two] = await Promise.all([stage.connected('one', options), stage.connected('two', options)]);
  const ids = [one, two].map((client) => client.connected[0].client);
  assert.ok(ids[0] && ids[1] && ids[0] !== ids[1], `two clients, two ids: ${ids}`);
  assert.equal(one.connected[0].transport, 'websocket');
  one.sdk.disconnect();
  await stage.until('one is disconnected', () => one.disconnected.length === 1);
  assert.equal(one.disconnected[0].code, 0);
  one.sdk.connect();
  await one.isConnected(2);
  assert.ok(!ids.includes(one.connected[1].client), 'a new connection has a new id');
  assert.equal(two.connecting.length, 1, 'the other client noticed nothing');
}

const DEEP = Array.from({ length: 100 }).reduce((inner) => [inner], 'core');
const DATA = [
  'text', '', 'grüße 日本語 \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u202e rtl', 'line\nbreak\r\ttab\u2028\u0000"\\/', null, true, false, 0, -1.5, 1e21, 5e-324,
  Number.MAX_SAFE_INTEGER, [], {}, [[], {}, [null]], { a: { b: [1, { c: null }] }, '': 0, 'kéy "x"': '', push: { id: 1 } }, '{}', '\n', ' ',
  'x'.repeat(50_000), DEEP,
];

export async function both_clients_see_exactly_what_was_sent(stage) {
  const [anna, ben] = await Promise.all([stage.connected('anna'), stage.connected('ben')]);
  const [annas, bens] = await Promise.all([anna.join('room'), ben.join('room')]);
  await publish(annas, DATA);
  await publish(bens, ['hi', 'bye']);
  for (const room of [annas, bens]) {
    await room.got([...DATA, 'hi', 'bye']);
    assert.deepEqual(room.publications, annas.publications, 'both see the same');
  }
  const author = (publication) => publication.info;
  assert.deepEqual(author(bens.publications[0]), { client: anna.connected[0].client, user: '' });
  assert.deepEqual(author(annas.publications.at(-1)), { client: ben.connected[0].client, user: '' });
}

export async function everybody_sees_one_order(stage) {
  const clients = await Promise.all(['a', 'b', 'c', 'd'].map((name) => stage.connected(name)));
  const rooms = await Promise.all(clients.map((client) => client.join('room')));
  // All at once: what one client has in flight overtakes nothing of its own.
  await Promise.all(rooms.map((room, sender) => Promise.all(messages(sender, 40).map((data) => room.sub.publish(data)))));
  await rooms[0].sub.publish('end');
  await Promise.all(rooms.map((room) => room.ends('end')));
  for (const room of rooms) {
    assert.deepEqual(room.publications, rooms[0].publications, `${room.who} sees the order that a sees`);
    room.ascends();
    rooms.forEach((_, sender) => {
      const ofSender = room.data.filter((data) => data.sender === sender);
      if (!keepsOrder(clients[sender])) ofSender.sort((a, b) => a.n - b.n);
      assert.deepEqual(ofSender, messages(sender, 40), `${room.who}: each sender's own order`);
    });
  }
}

export async function many_rooms_are_entered_at_once(stage) {
  const writer = await stage.connected('writer');
  const names = Array.from({ length: 40 }, (_, index) => `room-${index}`);
  const reader = stage.client('reader');
  const rooms = names.map((name) => reader.enter(name));
  reader.sdk.connect();
  await Promise.all(rooms.map((room) => room.isSubscribed()));
  const commands = reader.socket.sent[0].split('\n').map((line) => Object.keys(JSON.parse(line))[0]);
  assert.deepEqual(commands, ['connect', ...names.map(() => 'subscribe')], 'the SDK sent all in one frame');
  const writers = await Promise.all(names.map((name) => writer.join(name)));
  await Promise.all(writers.map((room) => room.sub.publish(room.channel)));
  await Promise.all(rooms.map((room) => room.got([room.channel])));
}

export async function send_harms_nothing(stage) {
  const client = await stage.connected('client');
  const room = await client.join('room');
  await client.sdk.send({ to: 'nobody' });
  await client.sdk.send(null);
  await publish(room, ['after']);
  await room.got(['after']);
  assert.equal(client.connecting.length, 1);
  assert.deepEqual(client.errors, []);
}

export async function pretty_printed_data_breaks_no_reader(stage) {
  const reader = await stage.connected('reader');
  const room = await reader.join('room');
  const raw = new WebSocket(stage.url);
  const replies = [];
  raw.on('message', (data) => {
    replies.push(...data.toString().split('\n'));
    stage.note();
  });
  raw.on('open', () => stage.note());
  await stage.until('the raw socket is open', () => raw.readyState === WebSocket.OPEN);
  raw.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"room"}}');
  raw.send('{"id":3,"publish":{"channel":"room","data":{\n "a" : 1\n}}}');
  raw.send('{\r\n\t"publish": {\r\n\t\t"data": [ 1,\r\n2 ],\n"channel": "room"},\n"id": 4\n}\n\n{"id":5,"publish":{"channel":"room","data":"\\n"}}');
  await stage.until('the raw publishes are answered', () => [3, 4, 5].every((id) => replies.some((reply) => JSON.parse(reply).id === id)));
  await room.sub.publish('end');
  const expected = [{ a: 1 }, [1, 2], '\n', 'end'];
  await room.got(expected);
  const late = await stage.connected('late');
  const page = await (await late.join('room')).sub.history({ limit: -1 });
  assert.deepEqual(page.publications.map(({ data }) => data), expected);
  assert.equal(reader.connecting.length, 1, 'the reader stayed connected');
  raw.terminate();
}
