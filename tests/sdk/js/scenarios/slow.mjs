// A reader that stops reading.

import assert from 'node:assert/strict';
import { messages, publish } from '../stage.mjs';

/** Is closed with 3008 instead of growing the node, holds up nobody, and gets everything from history. */
export async function slow_reader_is_told_and_recovers(stage) {
  const [writer, fast, slow] = await Promise.all(['writer', 'fast', 'slow'].map((name) => stage.connected(name)));
  const [writing, following, room] = await Promise.all([writer, fast, slow].map((client) => client.join('room')));
  await publish(writing, ['before']);
  await room.got(['before']);
  slow.socket._socket.pause();
  // Far more than the kernel's buffers and the node's limit hold together.
  const text = 'x'.repeat(60_000);
  const sent = messages('writer', 120).map((message) => ({ ...message, text }));
  await publish(writing, sent);
  await following.got(['before', ...sent]);
  assert.equal(slow.connecting.length, 1);
  slow.socket._socket.resume();
  await stage.until('the slow reader is told', () => slow.connecting.length === 2);
  assert.deepEqual([slow.connecting[1].code, slow.connecting[1].reason], [3008, 'slow']);
  await room.isSubscribed(2);
  const { wasRecovering, recovered } = room.subscribed[1];
  assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: true });
  await publish(writing, ['after']);
  await room.got(['before', ...sent, 'after']);
  await following.got(['before', ...sent, 'after']);
  assert.equal(fast.connecting.length, 1, 'nobody else noticed');
}
