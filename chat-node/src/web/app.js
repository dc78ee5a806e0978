// The page: one client, the rooms of it, a tab and a panel for each.
//
//   address, storage, dialog -> enter(room) -> Room (what happens) -> Panel (what is seen)

import { Client } from "./client.js";
import { askToJoin, onJoin } from "./join_dialog.js";
import { fromTemplate } from "./message_view.js";
import { Panel } from "./panel.js";
import { People } from "./people.js";
import { Room } from "./room.js";
import { loadName, loadRooms, loadUnsent, roomInAddress, roomProblem, saveName, saveRooms, saveUnsent } from "./settings.js";
import { closeWords } from "./words.js";

const byId = (id) => document.getElementById(id);
const rooms = new Map(); // name -> { room, panel, tab, unsaved }
let myName = loadName();
let current = "";
let wasConnected = false;

const client = new Client({
  url: new URL("connection/websocket", document.baseURI.replace(/^http/, "ws")).href,
  WebSocket,
  onState: connectionChanged,
  // Without an account people are called what they call themselves.
  data: () => ({ name: myName }),
  onPush: (push) => rooms.get(push.channel)?.room.pushed(push),
});

function connectionChanged({ phase, code, reason }) {
  const words = {
    connecting: wasConnected ? "Reconnecting…" : "Connecting…",
    connected: wasConnected ? "Connected again." : "Connected.",
    waiting: wasConnected ? "Reconnecting…" : "The server cannot be reached. Trying again…",
    ended: `Not connected: ${closeWords(code, reason)}.`,
  };
  // While it tries again and again the words stay, or a screen reader would say them every time.
  const retrying = phase === "connecting" && byId("status").dataset.phase === "waiting";
  if (!retrying) {
    byId("status").dataset.phase = phase;
    byId("status-text").textContent = words[phase];
    byId("connect").textContent = phase === "ended" ? "Connect again" : "Try now";
    byId("connect").hidden = phase !== "ended" && phase !== "waiting";
  }
  wasConnected ||= phase === "connected";
  for (const { room } of rooms.values()) {
    if (phase !== "connected") room.disconnected();
    else if (room.phase !== "refused") room.join();
  }
}

/** Joins the room, or turns to it if it is joined. */
function enter(name) {
  if (!rooms.has(name)) {
    const onChange = () => changed(name);
    const people = new People({ client, room: name, onChange });
    const room = new Room({ name, client, author: () => myName, onChange, people });
    const panel = new Panel(room, { onLeave: () => leave(name), onUnread: showUnread });
    const tab = fromTemplate("tab-template");
    tab.querySelector("bdi").textContent = name;
    tab.querySelector("button").addEventListener("click", () => turnTo(name));
    rooms.set(name, { room, panel, tab, unsaved: true });
    byId("rooms").append(panel.element);
    byId("tabs").append(tab);
    room.outbox.restore(loadUnsent(name));
    room.join();
    remember();
  }
  turnTo(name);
}

function leave(name) {
  const { room, panel, tab } = rooms.get(name);
  const unsent = room.outbox.entries.length;
  if (unsent > 0 && !confirm(`${unsent === 1 ? "A message was" : `${unsent} messages were`} not sent. Leave all the same?`)) return;
  rooms.delete(name);
  room.leave();
  panel.element.remove();
  tab.remove();
  saveUnsent(name, []);
  remember();
  if (current !== name) return rooms.get(current).panel.focus();
  const next = [...rooms.keys()].at(-1);
  if (next !== undefined) return turnTo(next);
  current = "";
  history.replaceState(null, "", location.pathname);
  showUnread();
  ask();
}

function turnTo(name) {
  current = name;
  history.replaceState(null, "", `${location.pathname}#${encodeURIComponent(name)}`);
  for (const [other, { panel, tab }] of rooms) {
    panel.element.classList.toggle("current", other === name);
    tab.querySelector("button").setAttribute("aria-current", String(other === name));
  }
  const { panel, tab } = rooms.get(name);
  panel.shown();
  panel.element.scrollIntoView({ block: "nearest", inline: "nearest" });
  tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  panel.focus();
}

function changed(name) {
  const entry = rooms.get(name);
  if (!entry) return;
  const unsent = entry.room.outbox.saved();
  if (unsent.length > 0 || entry.unsaved) saveUnsent(name, unsent);
  entry.unsaved = unsent.length > 0;
  entry.panel.changed();
}

function showUnread() {
  let total = 0;
  for (const { panel, tab } of rooms.values()) {
    const count = tab.querySelector(".count");
    count.textContent = panel.unread > 99 ? "99+ new" : `${panel.unread} new`;
    count.hidden = panel.unread === 0;
    total += panel.unread;
  }
  document.title = `${total ? `(${total}) ` : ""}${current ? `${current} – ` : ""}Natter`;
  byId("no-rooms").hidden = rooms.size > 0;
}

function remember() {
  saveRooms([...rooms.keys()]);
}

function ask(focusName = false) {
  askToJoin({ knownName: myName, knownRoom: focusName ? current : "", canCancel: rooms.size > 0, focusName });
}

function setName(name) {
  const isNew = name !== myName;
  myName = name;
  // The others in the room see the new name when the server knows it.
  if (isNew) client.renew();
  saveName(name);
  byId("me").textContent = name;
  byId("me").setAttribute("aria-label", `Your name is ${name}. Change it`);
  byId("me").hidden = false;
}

function start() {
  const named = roomInAddress(location);
  const wanted = [...new Set([...loadRooms(), ...(roomProblem(named) ? [] : [named])])];
  if (myName && wanted.length > 0) {
    setName(myName);
    for (const name of wanted) enter(name);
    if (rooms.has(named)) turnTo(named);
  } else {
    askToJoin({ knownName: myName, knownRoom: named || wanted[0] || "lobby", canCancel: false });
  }
  client.start();
}

onJoin((name, room) => {
  setName(name);
  enter(room);
});
byId("open-join").addEventListener("click", () => ask());
byId("me").addEventListener("click", () => ask(true));
byId("connect").addEventListener("click", () => client.start());
addEventListener("hashchange", () => {
  const named = roomInAddress(location);
  if (myName && rooms.size > 0 && !roomProblem(named)) enter(named);
});
addEventListener("online", () => client.wake());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  client.wake();
  for (const { panel } of rooms.values()) panel.shown();
});
addEventListener("beforeunload", (event) => {
  if ([...rooms.values()].some(({ room }) => room.outbox.entries.length > 0)) event.preventDefault();
});
start();
