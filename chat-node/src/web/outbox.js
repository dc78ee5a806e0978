// Messages that the user wrote and that have not been seen in the room yet. Nothing leaves but by being seen or removed.
//
//   queued -> sending -> accepted -> (seen in the room: gone)
//                |-> failed            the server refused it: certainly not sent
//                |-> unknown           the connection went first: look into the room, then
//                       |-> queued     it is not there: send it again
//                       |-> unsure     nobody can tell: the user decides

export class Outbox {
  /**
   * `{ key, data, fate, reason, doubtful, after }`. `doubtful`: an earlier try may have arrived. `after`: where the room
   * stood at the first try; null if what was published since then cannot be known without a hole.
   */
  entries = [];

  add(data) {
    const entry = { key: `o${data.id}`, data, fate: "queued", reason: "", doubtful: false, after: null };
    this.entries.push(entry);
    return entry;
  }

  /** Takes up what an earlier life of the page left; the user decides about each. */
  restore(saved) {
    for (const { data, doubtful } of saved) {
      const entry = this.add(data);
      entry.doubtful = doubtful;
      entry.fate = doubtful ? "unsure" : "failed";
      entry.reason = "the page was reloaded";
    }
  }

  /** What `restore` needs. An attempt under way counts as doubtful. */
  saved() {
    return this.entries.map(({ data, doubtful, fate }) => ({
      data,
      doubtful: doubtful || fate === "sending" || fate === "accepted",
    }));
  }

  /** The room was rejoined with a hole: what was tried before it may stand in the hole. */
  broken() {
    for (const entry of this.entries) entry.after = null;
    for (const entry of this.having("accepted")) entry.fate = "unknown";
  }

  /** The entry of a publication that arrived, taken out; null if it is not ours. */
  seen(publication) {
    const id = publication.data?.id;
    const entry = this.entries.find((entry) => entry.data.id === id);
    if (!entry) return null;
    this.remove(entry);
    return entry;
  }

  remove(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
  }

  having(...fates) {
    return this.entries.filter((entry) => fates.includes(entry.fate));
  }
}
