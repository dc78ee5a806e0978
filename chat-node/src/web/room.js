// One room: joins it, keeps its place in it, and gets the user's messages into it exactly once.
//
//   subscribe (from where we stood) -> history (if that failed, or at first) -> settle doubtful messages -> send the rest
//
// No DOM and no clock but timers: what is to be shown stands in `log`, `outbox`, `phase`, `notice`; `onChange` says when.

import { delayMs } from "./backoff.js";
import { Log } from "./log.js";
import { MAX_BYTES, byteLength, compose, read } from "./message.js";
import { Outbox } from "./outbox.js";
import { errorWords } from "./words.js";

/** So many messages a newcomer is shown. */
const RECENT = 50;
/** Asked for at once; the server may return fewer for their size. */
const PAGE = 100;
const MAX_PAGES = 10;

export class Room {
  log = new Log();
  outbox = new Outbox();
  /** "joining", "live", "away" (no connection) or "refused" (only `join` ends that). */
  phase = "away";
  /** A trouble of this room in words, or empty. */
  notice = "";
  /** Who is here, if somebody wants to know. */
  people;
  /** False until history was there once: what arrives before is no news. */
  loaded = false;

  #client;
  #author;
  #onChange;
  /** `{ offset, epoch }` up to which everything was received; null before the first join and where nothing is kept. */
  #position = null;
  #joinedBefore = false;
  /** How many messages of history are still wanted. */
  #wanted = 0;
  /** Answers to questions of an earlier round (before a lost connection, say) are void. */
  #round = 0;
  #failures = 0;
  #timer;
  #sending = false;

  constructor({ name, client, author, onChange, people = null }) {
    this.name = name;
    this.#client = client;
    this.#author = author;
    this.#onChange = onChange;
    this.people = people;
  }

  /** Joins as soon as there is a connection; called again whenever there is one again. */
  join() {
    if (!this.#client.connected) return this.disconnected();
    const round = this.#newRound("joining");
    const resume = this.#position;
    const recover = resume ? { recover: true, ...resume } : {};
    this.#client.call("subscribe", { channel: this.name, ...(this.people && { join_leave: true }), ...recover }, (error, reply) => {
      if (round !== this.#round || error?.lost) return;
      if (error) this.#joinFailed(error);
      else this.#joined(reply, resume);
    });
  }

  /** The connection is gone; `join` will be called when there is another. */
  disconnected() {
    if (this.phase !== "refused") this.#newRound("away");
  }

  leave() {
    if (this.phase === "live" || this.phase === "joining") this.#client.call("unsubscribe", { channel: this.name }, () => {});
    this.#newRound("away");
  }

  /** A push of this room. */
  pushed({ pub, unsubscribe, join, leave }) {
    if (this.phase !== "live") return; // a resume will bring it
    if (join?.info) return this.people?.came(join.info);
    if (leave?.info) return this.people?.went(leave.info);
    if (pub) this.#take(pub);
    else if (unsubscribe) this.#dismissed(unsubscribe);
    else return;
    this.#onChange();
  }

  /** Sends `text`, now or when it can be sent. Returns why it cannot be sent at all, or null. */
  send(text) {
    const data = compose(this.#author(), text);
    const bytes = byteLength(data);
    if (bytes > MAX_BYTES) {
      return `This message is too long: it has ${bytes.toLocaleString()} bytes, at most ${MAX_BYTES.toLocaleString()} can be sent.`;
    }
    this.outbox.add(data);
    this.#pump();
    this.#onChange();
    return null;
  }

  /** Sends a message again that was not sent, or maybe not. */
  retry(entry) {
    if (entry.fate !== "failed" && entry.fate !== "unsure") return;
    // A refused message is certainly not there. A doubtful one may have turned up meanwhile: look before sending.
    const lookFirst = entry.doubtful && entry.after !== null;
    entry.fate = lookFirst ? "unknown" : "queued";
    if (this.phase === "live") this.#settle();
    else this.#pump();
    this.#onChange();
  }

  discard(entry) {
    this.outbox.remove(entry);
    this.#pump();
    this.#onChange();
  }

  #newRound(phase) {
    clearTimeout(this.#timer);
    this.people?.stop();
    this.#sending = false;
    this.phase = phase;
    this.#onChange();
    return ++this.#round;
  }

  #joined(reply, resume) {
    const epoch = String(reply.epoch ?? "");
    const publications = list(reply.publications);
    const recovered = resume !== null && reply.recovered === true && epoch === resume.epoch;
    this.phase = "live";
    this.notice = "";
    this.#failures = 0;
    this.people?.begin();
    // After a recovery the position is what arrived, not the reply's offset: more of what was missed may follow as pushes.
    if (!recovered) {
      if (this.#joinedBefore) this.log.breakHere(epoch);
      else this.log.begin(epoch);
      this.#position = reply.recoverable === true ? { offset: Number(reply.offset) || 0, epoch } : null;
      this.#wanted = this.#joinedBefore ? PAGE * MAX_PAGES : RECENT;
      this.outbox.broken();
    }
    this.#joinedBefore = true;
    for (const publication of publications) this.#take(publication);
    if (this.#wanted > 0) this.#loadHistory();
    else this.#settle();
    this.#onChange();
  }

  #joinFailed(error) {
    this.notice = `You could not join: ${errorWords(error)}.${error.temporary ? " Trying again…" : ""}`;
    if (error.temporary) this.#later(() => this.join());
    else this.#refuse();
    this.#onChange();
  }

  #dismissed({ code, reason }) {
    if (!(code < 2500)) {
      // The protocol allows to come back at once; a pause keeps a whole room from doing so in the same millisecond.
      this.#newRound("joining");
      this.#later(() => this.join());
    } else {
      this.notice = `The server took you out of this room${reason ? `: ${reason}` : ""}.`;
      this.#refuse();
    }
  }

  #refuse() {
    this.#newRound("refused");
    for (const entry of this.outbox.having("sending", "unknown")) this.#doubt(entry, "you are not in the room");
    this.#pump();
  }

  #take(publication) {
    const offset = Number(publication?.offset) || 0;
    if (this.#position && offset > this.#position.offset) this.#position = { ...this.#position, offset };
    this.#show(publication);
  }

  #show(publication) {
    if (publication?.info) this.people?.said(publication.info.client, read(publication).name);
    this.log.add(publication, this.outbox.seen(publication));
  }

  // History comes newest first, page by page, until there is enough of it or what is shown already is reached.
  #loadHistory(left = this.#wanted, since = null) {
    const round = this.#round;
    const ask = { channel: this.name, limit: Math.min(left, PAGE), reverse: true, ...(since && { since }) };
    this.#client.call("history", ask, (error, reply) => {
      if (round !== this.#round || error?.lost) return;
      if (error?.temporary) {
        this.notice = `Earlier messages cannot be shown yet: ${errorWords(error)}.`;
        this.#later(() => this.#loadHistory(left, since));
        return this.#onChange();
      }
      this.notice = error ? `Earlier messages cannot be shown: ${errorWords(error)}.` : "";
      // Publications of another epoch cannot be put in order with what we follow; the server will tell us to start over.
      const same = !error && (!this.#position || reply.epoch === this.#position.epoch);
      const publications = same ? list(reply.publications) : [];
      for (const publication of publications) this.#show(publication);
      const oldest = Number(publications.at(-1)?.offset) || 0;
      const more = left - publications.length;
      if (more > 0 && oldest > this.log.floor) this.#loadHistory(more, { offset: oldest, epoch: reply.epoch });
      else {
        this.#wanted = 0;
        this.loaded = true;
        this.#failures = 0;
        this.#settle();
      }
      this.#onChange();
    });
  }

  // Looks for messages whose fate is unknown among all that was published since they were tried first.
  #settle() {
    if (this.#wanted > 0) return; // comes here when it is loaded
    const unknown = this.outbox.having("unknown");
    for (const entry of unknown) if (!entry.after) this.#doubt(entry, "the server could not recover what was sent meanwhile");
    const findable = unknown.filter((entry) => entry.after);
    if (findable.length === 0) return this.#pump();
    const offset = Math.min(...findable.map((entry) => entry.after.offset));
    this.#look({ offset, epoch: this.#position.epoch }, findable, 1);
  }

  #look(since, wanted, page) {
    const round = this.#round;
    this.#client.call("history", { channel: this.name, limit: PAGE, since }, (error, reply) => {
      if (round !== this.#round || error?.lost) return;
      if (error?.temporary) return this.#later(() => this.#settle());
      const publications = error ? [] : list(reply.publications);
      for (const publication of publications) this.#show(publication);
      const missing = wanted.filter((entry) => this.outbox.entries.includes(entry));
      const last = Number(publications.at(-1)?.offset) || 0;
      if (missing.length > 0 && last > since.offset && page < MAX_PAGES) {
        return this.#look({ ...since, offset: last }, missing, page + 1);
      }
      for (const entry of missing) {
        // Even now the first try may lie in some buffer and arrive late; the log shows the same message once.
        if (!error && publications.length === 0) entry.fate = "queued";
        else this.#doubt(entry, error ? errorWords(error) : "it could not be found");
      }
      this.#pump();
      this.#onChange();
    });
  }

  // One message at a time, so that they arrive in the order they were written.
  #pump() {
    if (this.phase === "refused") for (const entry of this.outbox.having("queued")) fail(entry, "you are not in the room");
    if (this.phase !== "live" || !this.#client.connected || this.#sending || this.outbox.having("unknown").length > 0) return;
    const [entry] = this.outbox.having("queued");
    if (!entry) return;
    this.#sending = true;
    entry.fate = "sending";
    entry.reason = "";
    entry.after ??= this.#position;
    const round = this.#round;
    this.#client.call("publish", { channel: this.name, data: entry.data }, (error) => {
      if (round === this.#round) this.#sending = false;
      if (error?.lost) {
        entry.doubtful = true;
        entry.fate = "unknown";
      } else if (!error) entry.fate = "accepted";
      else if (error.code === 100) this.#doubt(entry, errorWords(error));
      else fail(entry, errorWords(error));
      this.#pump();
      this.#onChange();
    });
  }

  #doubt(entry, reason) {
    entry.fate = "unsure";
    entry.reason = reason;
    entry.doubtful = true;
  }

  #later(action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, delayMs(this.#failures++));
  }
}

function fail(entry, reason) {
  entry.fate = "failed";
  entry.reason = reason;
}

function list(value) {
  return Array.isArray(value) ? value : [];
}
