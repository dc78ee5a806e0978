// What scenarios are played on: clients and rooms that record all they are told, conditions with deadlines, and the
// driver that owns the node.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { recorded } from './sdks.mjs';

/** No condition in a healthy run comes near this. */
const DEADLINE_MS = 15_000;

export class Stage {
  #waiting = new Set();
  #answers = [];
  #clients = [];
  #log = [];

  constructor(url, makeSdk) {
    this.urls = url.split(',');
    this.url = this.urls[0];
    this.makeSdk = makeSdk;
    createInterface({ input: process.stdin }).on('line', (line) => this.#answers.shift()?.(line));
  }

  /** Writes down what happened and looks at every condition that is waited for. */
  note(...what) {
    if (what.length) this.#log.push(what.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))).join(' '));
    for (const check of [...this.#waiting]) check();
  }

  /** Waits until `holds()`; it is asked again whenever something happened. */
  until(what, holds, deadline = DEADLINE_MS) {
    return new Promise((resolve, reject) => {
      const end = (settle, value) => {
        this.#waiting.delete(check);
        clearTimeout(timer);
        settle(value);
      };
      const check = () => {
        try {
          if (holds()) end(resolve);
        } catch (error) {
          end(reject, error);
        }
      };
      const timer = setTimeout(() => end(reject, new Error(`not within ${deadline} ms: ${what}`)), deadline);
      this.#waiting.add(check);
      check();
    });
  }

  /** Has the driver do something to the node: KILL, RESTART, TERM, STOP or CONT. */
  async driver(command) {
    const answer = new Promise((resolve) => this.#answers.push(resolve));
    this.note('driver', command);
    console.log(command);
    assert.equal(await answer, 'DONE', `the driver could not ${command}`);
  }

  /** Where a node is; with fewer nodes they count from the first one again. */
  at(number) {
    return this.urls[number % this.urls.length];
  }

  /** A client that is not connecting yet. */
  client(name, { url = this.url, ...options } = {}) {
    const client = new Client(this, name, url, options);
    this.#clients.push(client);
    return client;
  }

  async connected(name, options) {
    const client = this.client(name, options);
    client.sdk.connect();
    await client.isConnected();
    return client;
  }

  /** The last that happened, for a failure. */
  report() {
    const rooms = this.#clients.flatMap((client) => client.rooms.slice(0, 3));
    const states = rooms.map((room) => `${room.who}: ${room.publications.length} publications, ${room.sub.state}`);
    return [...this.#log.slice(-60), ...states].join('\n');
  }
}

/** An SDK client with everything it was told. */
class Client {
  connected = [];
  connecting = [];
  disconnected = [];
  errors = [];
  rooms = [];
  /** Every WebSocket the SDK opened, with the frames it sent and got. */
  sockets = [];

  constructor(stage, name, url, options) {
    this.stage = stage;
    this.name = name;
    this.sdk = stage.makeSdk(url, { websocket: recorded(this.sockets, () => stage.note()), ...options });
    const record = (event, list) =>
      this.sdk.on(event, (context) => {
        list.push(context);
        stage.note(name, event, context);
      });
    record('connected', this.connected);
    record('connecting', this.connecting);
    record('disconnected', this.disconnected);
    record('error', this.errors);
  }

  /** Disconnects, and waits for the end of its socket: until then 5.7.1 delivers what it will ask for once more. */
  async leaves() {
    const socket = this.sockets.at(-1);
    const closed = socket && socket.readyState !== socket.CLOSED && new Promise((resolve) => socket.once('close', resolve));
    this.sdk.disconnect();
    await closed;
  }

  async isConnected(times = 1) {
    await this.stage.until(`${this.name} is connected ${times}x`, () => this.connected.length >= times && this.sdk.state === 'connected');
  }

  /** Subscribes to a room, without waiting for the answer. */
  enter(channel, options) {
    const room = new Room(this, channel, options);
    this.rooms.push(room);
    room.sub.subscribe();
    return room;
  }

  async join(channel, options) {
    const room = this.enter(channel, options);
    await room.isSubscribed();
    return room;
  }

  get socket() {
    return this.sockets.at(-1);
  }
}

/** A subscription with everything it was told. */
class Room {
  subscribed = [];
  subscribing = [];
  unsubscribed = [];
  errors = [];
  publications = [];

  constructor(client, channel, options) {
    this.stage = client.stage;
    this.channel = channel;
    this.who = `${client.name} in ${channel}`;
    this.sub = client.sdk.newSubscription(channel, options);
    const record = (event, list) =>
      this.sub.on(event, (context) => {
        list.push(context);
        this.stage.note(this.who, event, context);
      });
    record('subscribed', this.subscribed);
    record('subscribing', this.subscribing);
    record('unsubscribed', this.unsubscribed);
    record('error', this.errors);
    this.sub.on('publication', (publication) => {
      this.publications.push(publication);
      this.stage.note();
    });
  }

  get data() {
    return this.publications.map(({ data }) => data);
  }

  async isSubscribed(times = 1) {
    await this.stage.until(`${this.who} is subscribed ${times}x`, () => this.subscribed.length >= times && this.sub.state === 'subscribed');
  }

  /** Waits until the publication with this data is the last one. */
  async ends(last) {
    await this.stage.until(`${this.who} has ${JSON.stringify(last)}`, () => {
      const data = this.publications.at(-1)?.data;
      return data !== undefined && JSON.stringify(data) === JSON.stringify(last);
    });
  }

  /** Has got exactly these messages, in this order, each once. */
  async got(expected) {
    await this.ends(expected.at(-1));
    assert.deepEqual(this.data, expected, this.who);
    this.ascends();
  }

  ascends() {
    const offsets = this.publications.map(({ offset }) => offset);
    const sorted = [...new Set(offsets)].sort((a, b) => a - b);
    assert.deepEqual(offsets, sorted, `${this.who}: offsets ascend, each once`);
  }
}

/** `count` messages that tell who sent them and when in his row. */
export function messages(sender, count, from = 1) {
  return Array.from({ length: count }, (_, index) => ({ sender, n: from + index }));
}

/** Whether what a client has in flight stays in order: over HTTP each command is a request of its own. */
export const keepsOrder = (client) => client.connected[0].transport === 'websocket';

/** Publishes one after the other. */
export async function publish(room, list) {
  for (const data of list) await room.sub.publish(data);
}

/** The error that `promise` is rejected with. */
export async function refused(promise) {
  const outcome = await promise.then(() => 'it was done', (error) => error);
  assert.equal(typeof outcome, 'object', `an error was expected, but ${outcome}`);
  return outcome;
}
