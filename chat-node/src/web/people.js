// Who is in a room: asked for now and then, and kept right by joins and leaves where the server tells of them.
//
//   presence_stats -> presence, if it is worth the bytes -> joins, leaves -> both again after a while
//
// No DOM and no clock but timers. Somebody without an account is called what he calls himself: the server says so by
// an empty `user`.

/** So many names are listed; the rest is a number. */
export const MOST_LISTED = 100;
/** A room with more people is asked for its names once only: the list is long and changes all the time. */
const MOST_ASKED = 500;
const REFRESH_MS = 10_000;
const MAX_NAME = 64;

export class People {
  /** How many sessions are here; null while nobody knows, or where the server does not tell. */
  count = null;

  #client;
  #room;
  #onChange;
  #here = new Map(); // session -> what the server says of it
  #said = new Map(); // session -> the name in its last message
  #round = 0;
  #timer;
  #isListed = false;

  constructor({ client, room, onChange }) {
    this.#client = client;
    this.#room = room;
    this.#onChange = onChange;
  }

  /** The room is joined. */
  begin() {
    this.stop();
    this.#isListed = false;
    this.#refresh();
  }

  /** The room is left, or the connection is gone: nobody knows who is there. */
  stop() {
    clearTimeout(this.#timer);
    this.#round++;
    if (this.count === null) return;
    this.count = null;
    this.#here.clear();
    this.#onChange();
  }

  /** A push: somebody came or went. */
  came(info) {
    if (this.count === null || this.#here.has(info.client)) return;
    this.#here.set(info.client, info);
    this.count++;
    this.#onChange();
  }

  went(info) {
    if (this.count === null) return;
    // In a large room not everybody is listed, but everybody is counted.
    if (!this.#here.delete(info.client) && this.count <= this.#here.size) return;
    this.count--;
    this.#onChange();
  }

  /** Somebody calls himself `name` in a message. */
  said(client, name) {
    if (!client || !name || this.#said.get(client) === name) return;
    if (this.#said.size >= 1000) this.#said.clear();
    this.#said.set(client, name);
    if (this.#here.has(client)) this.#onChange();
  }

  /** The first names, in alphabetical order, and how many more people are here. */
  list() {
    const names = new Set();
    const shown = [];
    for (const info of this.#here.values()) {
      const person = this.#person(info);
      if (person.user && names.has(person.user)) continue; // one person with two tabs
      names.add(person.user);
      shown.push(person);
    }
    shown.sort((a, b) => a.name.localeCompare(b.name) || a.key.localeCompare(b.key));
    const rest = Math.max(0, this.count - this.#here.size) + Math.max(0, shown.length - MOST_LISTED);
    return { people: shown.slice(0, MOST_LISTED), more: rest };
  }

  #person({ client, user, conn_info: info }) {
    const key = String(client);
    const own = typeof info?.name === "string" ? info.name.trim() : "";
    const name = own || this.#said.get(key) || String(user ?? "") || `Guest ${key.slice(0, 4)}`;
    return { key, user: String(user ?? ""), name: [...name].slice(0, MAX_NAME).join("") };
  }

  #refresh() {
    const round = this.#round;
    const channel = this.#room;
    this.#client.call("presence_stats", { channel }, (error, stats) => {
      if (round !== this.#round || error?.lost) return;
      if (error) return error.temporary ? this.#again() : this.stop();
      const count = Number(stats.num_clients) || 0;
      if (this.#isListed && count > MOST_ASKED) return this.#counted(count);
      this.#client.call("presence", { channel }, (error, reply) => {
        if (round !== this.#round || error?.lost) return;
        if (error) return error.temporary ? this.#again() : this.stop();
        const here = Object.values(reply.presence ?? {});
        this.#here = new Map(here.slice(0, MOST_ASKED).map((info) => [String(info?.client), info ?? {}]));
        this.#isListed = true;
        // Who came between the two answers is in the list already.
        this.#counted(Math.max(count, here.length < 4000 ? here.length : 0));
      });
    });
  }

  #counted(count) {
    this.count = count;
    this.#again();
    this.#onChange();
  }

  #again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refresh(), REFRESH_MS);
  }
}
