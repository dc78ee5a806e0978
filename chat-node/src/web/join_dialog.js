// Asks for a name and a room.

import { roomProblem } from "./settings.js";

const dialog = document.getElementById("join");
const form = document.getElementById("join-form");
const cancel = document.getElementById("cancel-join");
const problem = document.getElementById("join-problem");
const { name, room } = form.elements;

/** Opens with what is known filled in. */
export function askToJoin({ knownName, knownRoom, canCancel, focusName = false }) {
  if (dialog.open) return;
  name.value = knownName;
  room.value = knownRoom;
  problem.textContent = "";
  cancel.hidden = !canCancel;
  dialog.showModal();
  const first = focusName || knownName === "" ? name : room;
  first.focus();
  first.select();
}

/** Calls `join(name, room)` whenever the form was filled in. */
export function onJoin(join) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const who = name.value.trim();
    const where = room.value.trim();
    const wrong = who === "" ? "Please enter your name." : roomProblem(where);
    problem.textContent = wrong ?? "";
    if (wrong) return (who === "" ? name : room).focus();
    dialog.close();
    join(who, where);
  });
}

cancel.addEventListener("click", () => dialog.close());
