// Who a client is: tokens, fetched and refreshed by the SDK, and what becomes of those without.

import assert from 'node:assert/strict';
import { Proxy } from '../proxy.mjs';
import { publish } from '../stage.mjs';
import { inSeconds, token } from '../token.mjs';

const QUICK = { minReconnectDelay: 100, maxReconnectDelay: 500 };

/** Hands out the claims one after the other, the last again and again, and counts. */
function tokens(stage, ...claims) {
  const get = async () => {
    const next = claims[Math.min(get.asked, claims.length - 1)];
    get.asked += 1;
    stage.note('a token was asked for');
    return token(typeof next === 'function' ? next() : next);
  };
  get.asked = 0;
  return get;
}

async function ended(stage, client, code) {
  await stage.until(`${client.name} has ended`, () => client.disconnected.length === 1);
  assert.equal(client.disconnected[0].code, code, JSON.stringify(client.disconnected));
  assert.ok(client.disconnected[0].reason);
}

export async function a_token_names_its_user(stage) {
  const ann = await stage.connected('ann', { token: token({ sub: 'ann', info: { name: 'Ann' } }) });
  const bob = await stage.connected('bob', { url: stage.at(1), getToken: tokens(stage, { sub: 'bob' }) });
  const pass = token({ sub: 'ann', channel: 'closed:room', info: { role: 'guest' } });
  const room = await ann.join('closed:room', { token: pass });
  const reading = await bob.join('closed:room', { getToken: tokens(stage, { sub: 'bob', channel: 'closed:room' }) });
  await publish(room, ['hello']);
  await reading.got(['hello']);
  const { user, connInfo, chanInfo } = reading.publications[0].info;
  assert.deepEqual({ user, connInfo, chanInfo }, { user: 'ann', connInfo: { name: 'Ann' }, chanInfo: { role: 'guest' } });
}

export async function wrong_tokens_end_for_good(stage) {
  const nobody = stage.client('nobody');
  nobody.sdk.connect();
  await ended(stage, nobody, 101);
  const eve = stage.client('eve', { url: stage.at(1), token: `${token({ sub: 'ann' }).slice(0, -8)}AAAAAAAA` });
  eve.sdk.connect();
  await ended(stage, eve, 3500);
  const late = stage.client('late', { url: stage.at(2), token: token({ sub: 'ann', exp: inSeconds(-60) }) });
  late.sdk.connect();
  await ended(stage, late, 1);
  const ann = await stage.connected('ann', { token: token({ sub: 'ann' }) });
  for (const [channel, options] of [
    ['closed:a', {}],
    ['closed:b', { token: token({ sub: 'bob', channel: 'closed:b' }) }],
    ['closed:c', { token: token({ sub: 'ann', channel: 'closed:b' }) }],
    ['dm#bob', {}],
  ]) {
    const room = ann.enter(channel, options);
    await stage.until(`${channel} is refused`, () => room.unsubscribed.length === 1);
    assert.equal(room.unsubscribed[0].code, 103, channel);
  }
  assert.equal(ann.connecting.length, 1, 'the connection stayed');
}

export async function an_expired_token_is_replaced(stage) {
  const getToken = tokens(stage, { sub: 'ann', exp: inSeconds(-60) }, { sub: 'ann', exp: inSeconds(600) });
  const ann = await stage.connected('ann', { url: stage.at(1), getToken, ...QUICK });
  assert.equal(getToken.asked, 2);
  const getPass = tokens(stage, { sub: 'ann', channel: 'closed:room', exp: inSeconds(-60) }, { sub: 'ann', channel: 'closed:room' });
  await ann.join('closed:room', { getToken: getPass });
  assert.equal(getPass.asked, 2);
  assert.equal(ann.disconnected.length, 0);
}

export async function sessions_and_stays_are_refreshed(stage) {
  const getToken = tokens(stage, () => ({ sub: 'ann', exp: inSeconds(2) }));
  const ann = await stage.connected('ann', { getToken });
  const getPass = tokens(stage, () => ({ sub: 'ann', channel: 'closed:room', exp: inSeconds(2) }));
  const room = await ann.join('closed:room', { getToken: getPass });
  // Longer than the first tokens' time and grace.
  await stage.until('five refreshes of each', () => getToken.asked >= 6 && getPass.asked >= 6, 30_000);
  await publish(room, ['still here']);
  await room.got(['still here']);
  assert.equal(ann.connecting.length, 1, 'on the same connection');
  assert.equal(room.subscribed.length, 1, 'in one stay');
}

export async function a_stale_refresh_is_tried_again(stage) {
  const claims = (exp) => () => ({ sub: 'ann', exp: inSeconds(exp) });
  const getToken = tokens(stage, claims(1), claims(-60), claims(600));
  const ann = await stage.connected('ann', { getToken });
  await stage.until('the third token', () => getToken.asked === 3, 25_000);
  const room = await ann.join('room');
  await publish(room, ['still here']);
  await room.got(['still here']);
  assert.equal(ann.connecting.length, 1, 'on the same connection');
}

export async function who_refreshes_too_late_comes_back(stage) {
  let isAway = false;
  const getToken = async () => {
    if (isAway) throw new Error('the backend is away');
    return token({ sub: 'ann', exp: inSeconds(2) });
  };
  const proxy = await Proxy.to(stage.at(1));
  const ann = await stage.connected('ann', { url: proxy.url, getToken, ...QUICK });
  const room = await ann.join('room');
  isAway = true;
  // It comes back to another node, if there is one.
  proxy.leadTo(stage.at(2));
  await stage.until('the session has expired', () => ann.connecting.length === 2);
  assert.equal(ann.connecting[1].code, 3005);
  isAway = false;
  await ann.isConnected(2);
  await room.isSubscribed(2);
  assert.equal(ann.disconnected.length, 0);
}

export async function a_stay_without_refresh_is_taken_up_again(stage) {
  const ann = await stage.connected('ann', { token: token({ sub: 'ann' }) });
  const bob = await stage.connected('bob', { url: stage.at(1), token: token({ sub: 'bob' }) });
  let isAway = false;
  const getToken = async () => {
    if (isAway) throw new Error('the backend is away');
    return token({ sub: 'ann', channel: 'closed:room', exp: inSeconds(1) });
  };
  const room = await ann.join('closed:room', { getToken, minResubscribeDelay: 100 });
  const writing = await bob.join('closed:room', { token: token({ sub: 'bob', channel: 'closed:room' }) });
  isAway = true;
  await publish(writing, ['before']);
  await stage.until('the stay has expired', () => room.subscribing.some(({ code }) => code === 2501));
  await publish(writing, ['meanwhile']);
  isAway = false;
  await room.isSubscribed(2);
  await publish(writing, ['after']);
  await room.got(['before', 'meanwhile', 'after']);
  assert.equal(ann.connecting.length, 1, 'the connection stayed');
}

export async function given_rooms_are_joined_and_recovered(stage) {
  const proxy = await Proxy.to(stage.at(1));
  const bob = await stage.connected('bob', { token: token({ sub: 'bob', channels: ['given:news'] }) });
  const ann = stage.client('ann', { url: proxy.url, token: token({ sub: 'ann', channels: ['given:news', 'other'] }), ...QUICK });
  const got = [];
  const subscribed = [];
  ann.sdk.on('publication', ({ channel, data }) => {
    got.push([channel, data]);
    stage.note();
  });
  ann.sdk.on('subscribed', (context) => {
    subscribed.push(context);
    stage.note();
  });
  ann.sdk.connect();
  await stage.until('both rooms are joined', () => subscribed.length === 2);
  await bob.sdk.publish('given:news', 1);
  await stage.until('it is told', () => got.length === 1);
  proxy.cut();
  await stage.until('the cut is noticed', () => ann.connecting.length === 2);
  await bob.sdk.publish('given:news', 2);
  proxy.leadTo(stage.at(2));
  proxy.heal();
  await stage.until('both rooms are joined again', () => subscribed.length === 4);
  const news = subscribed.slice(2).find(({ channel }) => channel === 'given:news');
  assert.deepEqual([news.wasRecovering, news.recovered], [true, true]);
  await bob.sdk.publish('given:news', 3);
  await stage.until('all is told', () => got.length === 3);
  assert.deepEqual(got, [1, 2, 3].map((data) => ['given:news', data]));
}
