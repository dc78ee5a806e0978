// What the scenarios share: Chromium, a person at the page, a raw client, a network that can be cut, the driver's lines.

import net from "node:net";
import readline from "node:readline";
import { inspect, isDeepStrictEqual } from "node:util";

import { chromium } from "playwright-core";

export const DEADLINE_MS = 20_000;

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/** Waits until `actual()` equals `expected`, or fails with both. */
export async function equals(what, expected, actual, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  let value;
  do {
    value = await actual();
    if (isDeepStrictEqual(value, expected)) return;
    await new Promise((resolve) => setTimeout(resolve, 50)); // between two looks
  } while (Date.now() < end);
  const short = (value) => inspect(value, { maxStringLength: 80, maxArrayLength: 70, breakLength: Infinity });
  throw new Error(`${what}: expected ${short(expected)}, got ${short(value)}`);
}

export function check(condition, what) {
  if (!condition) throw new Error(what);
}

/** Somebody at a browser of their own. */
export class Person {
  /** Opens the page at `url` in a fresh browser profile. */
  static async at(browser, url, name, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    const person = new Person(page, name);
    page.on("pageerror", (error) => person.troubles.push(String(error)));
    page.on("console", (message) => {
      if (/content security policy/i.test(message.text())) person.troubles.push(message.text());
    });
    page.on("dialog", (dialog) => {
      person.troubles.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("request", (request) => person.requests.push(request.url()));
    await page.goto(url);
    return person;
  }

  /** Script errors, refused resources, dialogs: none may happen. */
  troubles = [];
  requests = [];

  constructor(page, name) {
    this.page = page;
    this.name = name;
  }

  /** Fills in the dialog that greets a newcomer, or opens it. */
  async join(room) {
    const { page } = this;
    const greeted = await page.getByRole("dialog", { name: "Join a room" }).isVisible();
    if (!greeted) await page.getByRole("button", { name: "Join a room", exact: true }).click();
    if ((await page.getByLabel("Your name", { exact: true }).inputValue()) === "") await page.getByLabel("Your name", { exact: true }).fill(this.name);
    await page.getByLabel("Room", { exact: true }).fill(room);
    await page.getByRole("button", { name: "Join", exact: true }).click();
    await this.isLive(room);
  }

  async isLive(room) {
    await equals(`${this.name} is in ${room}`, "live", () => this.panel(room).getAttribute("data-phase"));
  }

  panel(room) {
    return this.page.getByRole("region", { name: room, exact: true, includeHidden: true });
  }

  composer(room) {
    return this.page.getByRole("textbox", { name: `Message to ${room}`, exact: true });
  }

  log(room) {
    return this.page.getByRole("log", { name: `Messages in ${room}`, exact: true, includeHidden: true });
  }

  async say(room, text) {
    await this.composer(room).fill(text);
    await this.composer(room).press("Enter");
  }

  /** The list of `room` as the person sees it: texts, and "GAP" where messages may be missing. */
  async list(room) {
    return this.log(room).locator("li").evaluateAll((items) =>
      items.map((item) => {
        if (item.classList.contains("gap")) return "GAP";
        const unsent = item.classList.contains("unsent") ? "UNSENT " : "";
        return unsent + item.querySelector(".text").textContent;
      }),
    );
  }

  /** Waits until the list of `room` is exactly this. */
  async sees(room, expected, deadlineMs) {
    await equals(`${this.name} sees in ${room}`, expected, () => this.list(room), deadlineMs);
  }

  async status(words) {
    await equals(`the status that ${this.name} reads`, true, async () => {
      const text = await this.page.locator("#status-text").textContent();
      return words.test(text);
    });
  }

  async isUntroubled() {
    check(this.troubles.length === 0, `trouble in the page of ${this.name}: ${this.troubles.join("; ")}`);
  }
}

/** Publishes any JSON, from another connection of the browser. */
export async function publishRaw(person, room, datas) {
  const error = await person.page.evaluate(
    ([room, datas]) =>
      new Promise((resolve) => {
        const socket = new WebSocket(new URL("connection/websocket", document.baseURI.replace(/^http/, "ws")));
        let id = 1;
        const ask = (command) => socket.send(JSON.stringify({ id: id++, ...command }));
        socket.onopen = () => ask({ connect: {} });
        socket.onclose = ({ code, reason }) => resolve(`closed ${code} ${reason}`);
        socket.onmessage = ({ data }) => {
          for (const line of data.split("\n").filter(Boolean)) {
            const reply = JSON.parse(line);
            if (!reply.id) continue;
            if (reply.error) return resolve(JSON.stringify(reply.error));
            if (reply.connect) ask({ subscribe: { channel: room } });
            else if (datas.length > 0) ask({ publish: { channel: room, data: datas.shift() } });
            else resolve(null);
          }
        };
      }),
    [room, [...datas]],
  );
  check(error === null, `a publication was refused: ${error}`);
}

/** A network between the browser and the node that can be cut, and that can lose what the node answers. */
export class Network {
  #pairs = new Set();
  #isCut = false;
  #isMute = false;

  static async to(url) {
    const network = new Network();
    const { hostname, port } = new URL(url);
    network.server = net.createServer((near) => network.#join(near, net.connect(Number(port), hostname)));
    await new Promise((resolve) => network.server.listen(0, "127.0.0.1", resolve));
    network.url = `http://127.0.0.1:${network.server.address().port}`;
    return network;
  }

  #join(near, far) {
    if (this.#isCut) {
      near.destroy();
      far.destroy();
      return;
    }
    const pair = [near, far];
    this.#pairs.add(pair);
    near.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes) => this.#isMute || near.write(bytes));
    for (const socket of pair) {
      socket.on("error", () => {}); // "close" follows
      socket.on("close", () => {
        this.#pairs.delete(pair);
        for (const end of pair) end.destroy();
      });
    }
  }

  cut() {
    this.#isCut = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** From now on nothing the node says arrives. */
  mute() {
    this.#isMute = true;
  }

  restore() {
    this.#isCut = false;
    this.#isMute = false;
  }

  close() {
    this.cut();
    this.server.close();
  }
}

/** Whoever started this script can do what it cannot: it is told by a line and answers by a line. */
export class Driver {
  #lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

  async ask(request) {
    process.stdout.write(`${request}\n`);
    const { value, done } = await this.#lines.next();
    check(!done && value.trim() === "DONE", `the driver answered ${JSON.stringify(value)} to ${request}, not DONE`);
  }
}
