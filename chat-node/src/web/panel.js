// The column of one room: draws what the room says, hands on what the user does.

import { fromTemplate, itemView } from "./message_view.js";
import { read } from "./message.js";

/** Within so many pixels of its end a list counts as being at its end. */
const NEAR_END = 48;
let panels = 0;

export class Panel {
  element = fromTemplate("room-template");
  /** Messages that arrived since the user last saw the end of the list. */
  unread = 0;

  #room;
  #onUnread;
  #views = new Map();
  #atEnd = true;
  #drawTimer;
  /** What stands there before is no news: neither counted nor read out. */
  #settled = false;
  #log = this.#part(".log");
  #list = this.#part(".log ol");
  #newer = this.#part(".newer");
  #composer = this.#part("textarea");
  #problem = this.#part(".problem");

  constructor(room, { onLeave, onUnread }) {
    this.#room = room;
    this.#onUnread = onUnread;
    this.#label(++panels);
    this.#part(".leave").addEventListener("click", onLeave);
    this.#part(".rejoin").addEventListener("click", () => this.#rejoin());
    this.#part(".people").addEventListener("toggle", () => this.#drawPeople());
    this.#part(".composer").addEventListener("submit", (event) => this.#submit(event));
    this.#composer.addEventListener("keydown", (event) => this.#keyPressed(event));
    this.#composer.addEventListener("input", () => this.#say(""));
    this.#log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newer.addEventListener("click", () => this.#showNewest());
    // The list keeps its end in view when it grows or when its window does (a phone's keyboard, a tab that is shown).
    const observer = new ResizeObserver(() => this.#follow());
    observer.observe(this.#log);
    observer.observe(this.#list);
    this.#draw();
  }

  focus() {
    this.#composer.focus();
  }

  /** Draws soon: a burst of messages is drawn once. */
  changed() {
    this.#drawTimer ??= setTimeout(() => this.#draw(), 16);
  }

  /** The user can see this panel again. */
  shown() {
    this.#follow();
    this.#seen();
  }

  #draw() {
    this.#drawTimer = undefined;
    const { phase, notice, loaded } = this.#room;
    this.#part(".phase").textContent = { joining: "joining…", live: "", away: "not connected", refused: "not joined" }[phase];
    this.element.dataset.phase = phase;
    setText(this.#part(".notice p"), notice);
    this.#part(".rejoin").hidden = phase !== "refused";
    this.#drawPeople();
    this.#drawItems();
    if (loaded && !this.#settled) {
      this.#settled = true;
      setTimeout(() => this.#log.setAttribute("aria-live", "polite"), 500);
    }
    this.#follow();
    this.#seen();
  }

  #drawPeople() {
    const count = this.#room.people?.count ?? null;
    const people = this.#part(".people");
    people.hidden = count === null;
    if (count === null) return;
    setText(this.#part(".people .here"), count === 1 ? "1 person here" : `${count.toLocaleString("en")} people here`);
    if (!people.open) return;
    const { people: listed, more } = this.#room.people.list();
    const names = listed.map(({ name }) => {
      const item = document.createElement("li");
      const text = document.createElement("bdi");
      text.textContent = name;
      item.append(text);
      return item;
    });
    this.#part(".people ul").replaceChildren(...names);
    setText(this.#part(".people .rest"), more > 0 ? `and ${more.toLocaleString("en")} more` : "");
  }

  #drawItems() {
    const items = this.#items();
    const keys = new Set(items.map(({ key }) => key));
    for (const [key, { element }] of this.#views) {
      if (keys.has(key)) continue;
      this.#views.delete(key);
      this.#removeItem(element);
    }
    let place = this.#list.firstElementChild;
    for (const item of items) {
      let view = this.#views.get(item.key);
      if (view) view.update(item);
      else {
        view = itemView(item, this.#room);
        this.#views.set(item.key, view);
        if (item.kind === "message" && this.#settled && !item.mine) this.unread++;
      }
      if (view.element === place) place = place.nextElementSibling;
      else this.#list.insertBefore(view.element, place);
    }
  }

  #items() {
    const { log, outbox } = this.#room;
    const unsent = outbox.entries.map((entry) => ({ ...read(entry), kind: "message", key: entry.key, mine: true, entry }));
    return [...log.items, ...unsent];
  }

  #removeItem(element) {
    const focused = element.contains(document.activeElement);
    element.remove();
    if (focused) this.focus();
  }

  #submit(event) {
    event.preventDefault();
    const text = this.#composer.value.trimEnd();
    if (text === "") return this.#composer.focus();
    const problem = this.#room.send(text.toWellFormed?.() ?? text);
    this.#say(problem ?? "");
    if (!problem) {
      this.#composer.value = "";
      this.#atEnd = true;
    }
    this.#composer.focus();
  }

  #keyPressed(event) {
    // Enter that ends the input of a composed character (Japanese, say) is not ours; keyCode 229 is Safari's way to say so.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#part(".composer").requestSubmit();
  }

  #rejoin() {
    this.#room.join();
    this.focus();
  }

  #say(problem) {
    setText(this.#problem, problem);
  }

  #scrolled() {
    if (this.#hidden) return;
    this.#atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_END;
    this.#seen();
  }

  #follow() {
    if (this.#atEnd && !this.#hidden) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #showNewest() {
    this.#atEnd = true;
    this.#follow();
    this.#log.focus();
    this.#seen();
  }

  #seen() {
    if (this.#atEnd && !this.#hidden && !document.hidden) this.unread = 0;
    this.#newer.hidden = this.#atEnd || this.unread === 0;
    this.#newer.textContent = this.unread === 1 ? "1 new message" : `${this.unread} new messages`;
    this.#onUnread();
  }

  get #hidden() {
    return this.#log.clientHeight === 0;
  }

  #label(number) {
    const { name } = this.#room;
    const title = this.#part("h2");
    title.textContent = name;
    title.id = `room-${number}`;
    this.element.setAttribute("aria-labelledby", title.id);
    this.#log.setAttribute("aria-label", `Messages in ${name}`);
    this.#part(".people ul").setAttribute("aria-label", `People in ${name}`);
    this.#composer.setAttribute("aria-label", `Message to ${name}`);
    this.#part(".leave").setAttribute("aria-label", `Leave ${name}`);
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

// Setting the same text again would have a live region read out again.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
