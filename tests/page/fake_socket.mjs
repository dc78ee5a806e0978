// A WebSocket whose other end is the test: it reads the commands and writes the replies.

export class FakeSocket {
  static all = [];

  static reset() {
    FakeSocket.all = [];
  }

  /** The newest socket. */
  static get last() {
    return FakeSocket.all.at(-1);
  }

  sent = [];
  closed = false;
  #asked = 0;

  constructor(url) {
    this.url = url;
    FakeSocket.all.push(this);
  }

  send(frame) {
    for (const line of frame.split("\n")) this.sent.push(JSON.parse(line));
  }

  close() {
    this.closed = true;
  }

  /** The next command that was not asked for yet; it must be of kind `method`. */
  next(method) {
    const command = this.sent[this.#asked++];
    if (!command || !(method in command)) throw new Error(`expected ${method}, got ${JSON.stringify(command)}`);
    return { id: command.id, ...command[method] };
  }

  /** Commands that nobody asked for yet. */
  get waiting() {
    return this.sent.length - this.#asked;
  }

  /** Opens and answers the connect command. */
  welcome(reply = { client: "c", version: "1", ping: 25, pong: true }) {
    this.onopen();
    this.reply(this.next("connect").id, { connect: reply });
  }

  reply(id, body) {
    this.write({ id, ...body });
  }

  fail(id, code, message, temporary = false) {
    this.write({ id, error: { code, message, temporary } });
  }

  push(channel, body) {
    this.write({ push: { channel, ...body } });
  }

  /** One frame. */
  write(...objects) {
    this.onmessage({ data: objects.map((object) => JSON.stringify(object)).join("\n") });
  }

  end(code = 1006, reason = "") {
    this.onclose({ code, reason });
  }
}
