// What the page remembers: name and rooms for the next visit, unsent messages for a reload of this tab.
// Storage may be switched off or full; then nothing is remembered and nothing else changes.

export const MAX_ROOM_BYTES = 255;

export function loadName() {
  const name = load("localStorage", "natter.name");
  return typeof name === "string" ? name : "";
}

export function saveName(name) {
  save("localStorage", "natter.name", name);
}

export function loadRooms() {
  const rooms = load("localStorage", "natter.rooms");
  return Array.isArray(rooms) ? rooms.filter((name) => typeof name === "string" && !roomProblem(name)) : [];
}

export function saveRooms(names) {
  save("localStorage", "natter.rooms", names);
}

export function loadUnsent(room) {
  const unsent = load("sessionStorage", "natter.unsent")?.[room];
  return Array.isArray(unsent) ? unsent : [];
}

export function saveUnsent(room, entries) {
  const all = { ...load("sessionStorage", "natter.unsent"), [room]: entries };
  if (entries.length === 0) delete all[room];
  save("sessionStorage", "natter.unsent", all);
}

/** The room that the address names, as `/#lobby` or `/?room=lobby`; empty if none. */
export function roomInAddress({ hash, search }) {
  if (hash.length > 1) {
    try {
      return decodeURIComponent(hash.slice(1));
    } catch {
      return hash.slice(1);
    }
  }
  return new URLSearchParams(search).get("room") ?? "";
}

/** Why `name` cannot be a room, or null. */
export function roomProblem(name) {
  if (name === "") return "Please enter the name of a room.";
  const bytes = new TextEncoder().encode(name).length;
  return bytes > MAX_ROOM_BYTES ? `This name is too long for a room: ${bytes} bytes, at most ${MAX_ROOM_BYTES} are allowed.` : null;
}

function load(storage, key) {
  try {
    return JSON.parse(globalThis[storage].getItem(key));
  } catch {
    return null;
  }
}

function save(storage, key, value) {
  try {
    globalThis[storage].setItem(key, JSON.stringify(value));
  } catch {
    // not remembered
  }
}
