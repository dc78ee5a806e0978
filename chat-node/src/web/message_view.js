// The list item of a message, of an unsent message, or of a gap. All text goes in as text, never as markup.

const LONG_CHARACTERS = 2000;
const LONG_LINES = 25;
const HUES = 6;

/** Makes the element for `item` and returns `{ element, update(item) }`. */
export function itemView(item, room) {
  return item.kind === "gap" ? gapView() : messageView(item, room);
}

function gapView() {
  return { element: fromTemplate("gap-template"), update() {} };
}

function messageView(item, room) {
  const element = fromTemplate("message-template");
  const part = (name) => element.querySelector(`.${name}`);
  let fateView = null;

  const name = item.name || "unknown";
  part("name").textContent = name;
  part("name").classList.toggle("unknown", !item.name);
  part("user").textContent = item.user && item.user !== item.name ? `(${item.user})` : "";
  part("avatar").textContent = initial(name);
  part("avatar").classList.add(`hue${hue(name)}`);
  showTime(element.querySelector("time"), item.time);
  part("text").textContent = item.text;
  foldIfLong(part("text"), part("more"));

  function update({ mine, entry }) {
    const pending = Boolean(entry) && (entry.fate === "sending" || entry.fate === "accepted");
    const shown = Boolean(entry) && !pending;
    element.classList.toggle("mine", mine);
    element.classList.toggle("pending", pending);
    element.classList.toggle("unsent", shown);
    if (shown) {
      fateView ??= addFate(element, entry, room);
      fateView(entry);
    } else if (fateView) {
      element.querySelector(".fate").remove();
      fateView = null;
    }
  }
  update(item);
  return { element, update };
}

function addFate(element, entry, room) {
  const fate = fromTemplate("fate-template");
  const [text, retry, discard] = fate.children;
  retry.addEventListener("click", () => room.retry(entry));
  discard.addEventListener("click", () => room.discard(entry));
  element.append(fate);
  return ({ fate, reason }) => {
    const words = fateWords(fate, reason);
    if (text.textContent !== words) text.textContent = words;
    retry.hidden = fate !== "failed" && fate !== "unsure";
    discard.hidden = fate === "unknown";
  };
}

function fateWords(fate, reason) {
  switch (fate) {
    case "queued":
      return "Not sent yet: it will be sent when the connection is back.";
    case "unknown":
      return "Not known yet whether this was sent: it will be checked when the connection is back.";
    case "failed":
      return `Not sent: ${reason}.`;
    default:
      return `Nobody can tell whether this was sent: ${reason}.`;
  }
}

function showTime(element, ms) {
  if (ms === null) return element.remove();
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString();
  element.textContent = date.toLocaleString(undefined, today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

function foldIfLong(text, more) {
  const long = text.textContent.length > LONG_CHARACTERS || text.textContent.split("\n", LONG_LINES + 1).length > LONG_LINES;
  if (!long) return more.remove();
  text.classList.add("folded");
  more.hidden = false;
  more.addEventListener("click", () => {
    more.textContent = text.classList.toggle("folded") ? "Show all" : "Show less";
  });
}

function initial(name) {
  const characters = Intl.Segmenter ? Array.from(new Intl.Segmenter().segment(name), ({ segment }) => segment) : [...name];
  return characters[0].toLocaleUpperCase();
}

function hue(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return sum % HUES;
}

export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}
