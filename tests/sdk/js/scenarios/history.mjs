// What a room keeps, and coming back to it.

import assert from 'node:assert/strict';
import { messages, publish } from '../stage.mjs';

const data = (page) => page.publications.map((publication) => publication.data);

export async function history_goes_both_ways(stage) {
  const client = await stage.connected('client');
  const room = await client.join('room');
  const { sub } = room;
  const empty = await sub.history({ limit: 10 });
  assert.deepEqual(data(empty), []);
  const sent = messages('client', 12);
  await publish(room, sent);
  await room.got(sent);

  const all = await sub.history({ limit: -1 });
  assert.deepEqual(data(all), sent);
  assert.deepEqual(all.publications, room.publications, 'history is what was pushed');
  assert.equal(all.offset, room.publications[11].offset);
  assert.equal(all.epoch, room.subscribed[0].streamPosition.epoch);
  const { epoch } = all;
  const since = (index) => ({ offset: all.publications[index].offset, epoch });

  for (const top of [await sub.history(), await sub.history({ limit: 0 })]) {
    assert.deepEqual([data(top), top.offset, top.epoch], [[], all.offset, epoch]);
  }
  const pages = [
    [{ limit: 5 }, sent.slice(0, 5)],
    [{ limit: 5, reverse: true }, sent.slice(7).reverse()],
    [{ limit: 5, since: since(3) }, sent.slice(4, 9)],
    [{ limit: -1, since: since(3) }, sent.slice(4)],
    [{ limit: 5, since: since(11) }, []],
    [{ limit: 2, since: since(3), reverse: true }, [sent[2], sent[1]]],
    [{ limit: 100, since: since(3), reverse: true }, sent.slice(0, 3).reverse()],
    [{ limit: 3, since: { offset: 0, epoch } }, sent.slice(0, 3)],
  ];
  for (const [options, expected] of pages) {
    assert.deepEqual(data(await sub.history(options)), expected, JSON.stringify(options));
  }
}

/** 1.6 MB do not fit into one page: reading on from the last offset gets the rest. */
export async function long_history_comes_in_pages(stage) {
  const client = await stage.connected('client');
  const room = await client.join('room');
  const sent = messages('client', 40).map((message) => ({ ...message, text: 'ä'.repeat(20_000) }));
  await publish(room, sent);
  await room.got(sent);
  const found = [];
  let pages = 0;
  let since;
  do {
    const page = await room.sub.history({ limit: -1, since });
    assert.ok(page.publications.length > 0, 'every page brings something');
    found.push(...data(page));
    since = { offset: page.publications.at(-1).offset, epoch: page.epoch };
    pages += 1;
  } while (found.length < sent.length);
  assert.deepEqual(found, sent);
  assert.ok(pages > 1, 'one page would be a frame too large for some readers');
}

export async function resubscribe_recovers(stage) {
  const [writer, reader] = await Promise.all([stage.connected('writer'), stage.connected('reader')]);
  const [writing, room] = await Promise.all([writer.join('room'), reader.join('room')]);
  const sent = messages('writer', 60);
  await publish(writing, sent.slice(0, 10));
  await room.got(sent.slice(0, 10));
  for (const [round, from] of [10, 20, 30, 40, 50].entries()) {
    room.sub.unsubscribe();
    await publish(writing, sent.slice(from, from + 10));
    room.sub.subscribe();
    await room.isSubscribed(round + 2);
    const { wasRecovering, recovered } = room.subscribed.at(-1);
    assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: true });
    await room.got(sent.slice(0, from + 10));
  }
  assert.equal(reader.connecting.length, 1, 'all on one connection');
}

/** Leaving and entering while messages are on their way: the cut between history and live has no gap, no overlap. */
export async function resubscribe_under_traffic_recovers(stage) {
  const [writer, reader] = await Promise.all([stage.connected('writer'), stage.connected('reader')]);
  const [writing, room] = await Promise.all([writer.join('room'), reader.join('room')]);
  const sent = messages('writer', 300);
  const published = publish(writing, sent);
  for (let round = 2; room.publications.length < 250; round += 1) {
    const before = room.publications.length;
    await stage.until('more has come', () => room.publications.length > before);
    room.sub.unsubscribe();
    room.sub.subscribe();
    await room.isSubscribed(round);
    assert.equal(room.subscribed.at(-1).recovered, true);
  }
  await published;
  await room.got(sent);
}

/** A tab that was closed for a while catches up with what another tab wrote. */
export async function offline_tab_catches_up(stage) {
  const [first, second] = await Promise.all([stage.connected('first'), stage.connected('second')]);
  const [room, other] = await Promise.all([first.join('room'), second.join('room')]);
  await publish(room, ['before']);
  await room.got(['before']);
  first.sdk.disconnect();
  const missed = messages('second', 20);
  await publish(other, missed);
  first.sdk.connect();
  await room.isSubscribed(2);
  const { wasRecovering, recovered } = room.subscribed[1];
  assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: true });
  await publish(room, ['back']);
  for (const reading of [room, other]) await reading.got(['before', ...missed, 'back']);
}
