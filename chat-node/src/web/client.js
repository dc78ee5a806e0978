// One connection to the node: Centrifuge client protocol v2, JSON over WebSocket.
//
//   open -> connect -> calls and pushes -> lost -> wait -> open …
//
// It keeps the connection alive and knows no rooms. Replies and pushes are handed on synchronously, in the order of
// the wire: a subscribe reply and the pushes after it may share a frame, and a promise would let the pushes overtake.

import { delayMs } from "./backoff.js";

const HANDSHAKE_MS = 8_000;
const CALL_MS = 10_000;
const PING_GRACE_MS = 10_000;
/** A connection that lived shorter than this does not reset the backoff. */
const STABLE_MS = 10_000;

/** The error of a call whose connection went away: whether the server acted on it is unknown. */
export const LOST = Object.freeze({ lost: true });

/** Whether a close code asks the client to stay away. */
export function isTerminal(code) {
  return (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
}

export class Client {
  #url;
  #data;
  #WebSocket;
  #random;
  #onState;
  #onPush;

  #socket = null;
  #connected = false;
  #lastId = 0;
  #calls = new Map();
  #failures = 0;
  #retry;
  #watchdog;
  #silenceMs = 0;
  #pong = false;
  #connectedAt = 0;
  #heardAt = 0;

  /**
   * `onState({ phase, code?, reason? })` gets phase "connecting", "connected", "waiting" (it will try again by itself)
   * or "ended" (it will not, until `start`). `onPush(push)` gets every push of a room. `data()` is what the server is told
   * with each connect.
   */
  constructor({ url, WebSocket, onState, onPush, data = () => undefined, random = Math.random }) {
    this.#url = url;
    this.#data = data;
    this.#WebSocket = WebSocket;
    this.#onState = onState;
    this.#onPush = onPush;
    this.#random = random;
  }

  get connected() {
    return this.#connected;
  }

  /** Connects now, whatever went before; a connection that stands is kept. */
  start() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    this.#open();
  }

  /** Connects anew, to say something else of itself. */
  renew() {
    if (!this.#connected) return;
    this.#drop();
    this.#onState({ phase: "waiting" });
    this.#open();
  }

  /** The network is back or somebody looks at the page: a wait ends now, a connection that died asleep is noticed. */
  wake() {
    if (this.#retry !== undefined) this.start();
    else if (this.#connected && this.#silenceMs && Date.now() - this.#heardAt > this.#silenceMs) this.#lose(0, "no ping");
  }

  /** Sends a command; `done(error, result)` is called once, with `LOST` if the connection goes first. */
  call(method, params, done) {
    if (!this.#connected) return done(LOST);
    this.#ask(method, params, done);
  }

  #ask(method, params, done) {
    const id = ++this.#lastId;
    // A server that answers nothing is as good as gone; reconnecting is the one way to learn what became of the call.
    const timer = setTimeout(() => this.#lose(0, `${method} was not answered`), CALL_MS);
    this.#calls.set(id, { method, done, timer });
    this.#socket.send(JSON.stringify({ id, [method]: params }));
  }

  #open() {
    this.#retry = undefined;
    const socket = new this.#WebSocket(this.#url);
    this.#socket = socket;
    this.#watch(HANDSHAKE_MS, "no answer");
    socket.onopen = () => this.#ask("connect", { name: "natter-page", data: this.#data() }, (error, reply) => this.#greeted(error, reply));
    socket.onmessage = (event) => this.#receive(socket, event.data);
    socket.onclose = (event) => this.#lose(event.code, event.reason);
    this.#onState({ phase: "connecting" });
  }

  #greeted(error, reply) {
    if (error?.lost) return;
    if (error) {
      const passing = error.temporary || error.code < 100 || error.code === 109;
      return passing ? this.#lose(error.code, error.message) : this.#end(error.code, error.message);
    }
    const pingSeconds = Number(reply?.ping) || 0;
    this.#silenceMs = pingSeconds > 0 ? pingSeconds * 1000 + PING_GRACE_MS : 0;
    this.#pong = reply?.pong === true;
    this.#connected = true;
    this.#connectedAt = Date.now();
    this.#heard();
    this.#onState({ phase: "connected" });
  }

  #receive(socket, frame) {
    if (typeof frame !== "string") return this.#lose(0, "unreadable frame");
    if (this.#connected) this.#heard();
    for (const line of frame.split("\n")) {
      if (socket !== this.#socket) return; // an earlier line of this frame ended the connection
      if (line.trim() === "") continue;
      let message;
      try {
        message = JSON.parse(line);
      } catch {
        return this.#lose(0, "unreadable frame");
      }
      this.#dispatch(message);
    }
  }

  #dispatch(message) {
    if (message?.id) this.#answer(message);
    else if (message?.push) this.#pushed(message.push);
    else if (this.#pong) this.#socket.send("{}");
  }

  #answer({ id, error, ...result }) {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    clearTimeout(call.timer);
    if (error) call.done({ code: Number(error.code) || 0, message: String(error.message ?? ""), temporary: error.temporary === true });
    else call.done(null, result[call.method] ?? {});
  }

  #pushed(push) {
    const { disconnect } = push;
    if (disconnect) this.#lose(Number(disconnect.code) || 0, String(disconnect.reason ?? ""));
    else this.#onPush(push);
  }

  #lose(code, reason) {
    if (isTerminal(code)) return this.#end(code, reason);
    if (this.#connected && Date.now() - this.#connectedAt >= STABLE_MS) this.#failures = 0;
    this.#drop();
    this.#retry = setTimeout(() => this.#open(), delayMs(this.#failures++, this.#random));
    this.#onState({ phase: "waiting", code, reason });
  }

  #end(code, reason) {
    this.#failures = 0;
    this.#drop();
    this.#onState({ phase: "ended", code, reason });
  }

  /** Lets go of the socket without waiting for its close event, which a dead network delays for minutes. */
  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#connected = false;
    clearTimeout(this.#watchdog);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { done, timer } of calls) {
      clearTimeout(timer);
      done(LOST);
    }
  }

  #heard() {
    this.#heardAt = Date.now();
    if (this.#silenceMs) this.#watch(this.#silenceMs, "no ping");
    else clearTimeout(this.#watchdog);
  }

  #watch(ms, reason) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lose(0, reason), ms);
  }
}
