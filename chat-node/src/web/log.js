// The list of what a room showed: messages in the room's order, and marks where some may be missing.
//
// Offsets of one epoch can be compared, offsets of two cannot, so the list is a row of segments. Only the last segment
// grows; within it a publication finds its place by offset, wherever it came from (push, resume or history).

import { fingerprint, read } from "./message.js";

export const MAX_ITEMS = 1000;

export class Log {
  /** What to show, in order: `{ key, kind: "message", … }` and `{ key, kind: "gap" }`. */
  items = [];

  #lastKey = 0;
  #epoch = "";
  /** Index of the last segment's first item. */
  #start = 0;
  /** Offsets up to here are not shown (again) in the last segment. */
  #floor = 0;
  /** The highest offset shown so far, by epoch. */
  #shown = new Map();
  #fingerprints = new Set();

  get floor() {
    return this.#floor;
  }

  /** Starts a segment; what follows continues what stands above only if nothing does. */
  begin(epoch) {
    this.#epoch = epoch;
    this.#start = this.items.length;
    this.#floor = this.#shown.get(epoch) ?? 0;
  }

  /** Starts a segment after a mark that says that something may be missing. */
  breakHere(epoch) {
    if (this.items.at(-1)?.kind !== "gap") this.items.push({ key: this.#nextKey(), kind: "gap" });
    this.begin(epoch);
    this.#trim();
  }

  /**
   * Shows a publication unless it is shown already. Returns the message, or null if it adds nothing.
   * `sent` is the outbox's entry of an own message: it keeps its key, so that it does not look like another one.
   */
  add(publication, sent = null) {
    const offset = Number(publication.offset) || 0;
    if (offset && offset <= this.#floor) return null;
    const at = this.#place(offset);
    if (at < 0) return null;
    const message = read(publication);
    if (offset > (this.#shown.get(this.#epoch) ?? 0)) this.#shown.set(this.#epoch, offset);
    if (message.id) {
      // The same message at two offsets was sent again after a lost connection: one is enough.
      const print = fingerprint(message);
      if (this.#fingerprints.has(print)) return null;
      this.#fingerprints.add(print);
    }
    const item = { ...message, key: sent?.key ?? this.#nextKey(), kind: "message", offset, mine: sent !== null };
    this.items.splice(at, 0, item);
    this.#trim();
    return item;
  }

  /** The index for `offset`, or -1 if the last segment has it. Without an offset: the end. */
  #place(offset) {
    let at = this.items.length;
    if (!offset) return at;
    for (let i = at - 1; i >= this.#start; i--) {
      const other = this.items[i].offset;
      if (other === offset) return -1;
      if (other && other < offset) break;
      if (other) at = i;
    }
    return at;
  }

  #trim() {
    while (this.items.length > MAX_ITEMS) {
      const [oldest] = this.items.splice(0, 1);
      if (oldest.id) this.#fingerprints.delete(fingerprint(oldest));
      if (this.#start > 0) this.#start--;
      else this.#floor = Math.max(this.#floor, oldest.offset);
    }
  }

  #nextKey() {
    return `i${++this.#lastKey}`;
  }
}
