// What a message is: the shape this page publishes, and what it makes of whatever others publish.

/** The server's default limit for a message's JSON, in bytes. */
export const MAX_BYTES = 64 * 1024;
const MAX_NAME = 64;
const EARLIEST_MS = Date.UTC(2000, 0, 1);
const CLOCK_SKEW_MS = 24 * 60 * 60 * 1000;
const PAGE_ID = /^[0-9a-f]{32}$/;

/** The data this page publishes. The random `id` lets a message be found again after a lost connection. */
export function compose(name, text, now = Date.now()) {
  return { id: randomId(), name, text, time: now };
}

/** Bytes of `data` on the wire. */
export function byteLength(data) {
  return new TextEncoder().encode(JSON.stringify(data)).length;
}

/**
 * What to show for a publication: `{ id, name, user, text, time }`. Any JSON may arrive: what is not a chat message is
 * shown as compact JSON, and no field is believed to have its type. `id` is null unless it has the form this page gives.
 */
export function read({ data, info }, now = Date.now()) {
  const user = typeof info?.user === "string" ? info.user : "";
  if (data === null || typeof data !== "object" || typeof data.text !== "string" || data.text === "") {
    return { id: null, name: "", user, text: compactJson(data), time: null };
  }
  return {
    id: typeof data.id === "string" && PAGE_ID.test(data.id) ? data.id : null,
    name: typeof data.name === "string" ? shorten(data.name.trim()) : "",
    user,
    text: data.text,
    time: sane(data.time, now),
  };
}

/** Equal for two publications of one message, sent again because the first try's fate was unknown. */
export function fingerprint({ id, name, text, time }) {
  return JSON.stringify([id, name, text, time]);
}

function compactJson(data) {
  try {
    return JSON.stringify(data) ?? "null";
  } catch {
    return "(data nested too deeply to show)";
  }
}

function sane(time, now) {
  const ms = typeof time === "string" ? Date.parse(time) : time;
  return Number.isFinite(ms) && ms >= EARLIEST_MS && ms <= now + CLOCK_SKEW_MS ? ms : null;
}

function shorten(name) {
  const characters = [...name];
  return characters.length > MAX_NAME ? `${characters.slice(0, MAX_NAME).join("")}…` : name;
}

// crypto.randomUUID exists only on HTTPS and localhost; this page is also served over plain HTTP.
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
