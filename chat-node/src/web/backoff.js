// How long to wait before the next attempt: jittered, so that a restarted node is not stormed by everybody at once.

const FIRST_MS = 500;
const LONGEST_MS = 20_000;

/** Milliseconds before attempt `failures + 1`: 0.5–1 s at first, growing to at most 20 s. */
export function delayMs(failures, random = Math.random) {
  return Math.min(LONGEST_MS, FIRST_MS + random() * FIRST_MS * 2 ** Math.min(failures, 10));
}
