// A TCP proxy between SDK and node, whose cable can be cut.

import { connect, createServer } from 'node:net';

export class Proxy {
  #pairs = new Set();
  #mode = 'open';
  #node;

  /** Listens, and forwards to the node at `url`. */
  static async to(url) {
    const node = new URL(url);
    const proxy = new Proxy();
    proxy.leadTo(url);
    const server = createServer((client) => proxy.#accept(client));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    proxy.url = url.replace(node.host, `127.0.0.1:${server.address().port}`);
    return proxy;
  }

  /** Forwards new connections to the node at `url`. */
  leadTo(url) {
    this.#node = new URL(url);
  }

  #accept(client) {
    const { hostname, port } = this.#node;
    if (this.#mode === 'cut') {
      client.resetAndDestroy();
      return;
    }
    const node = connect(port, hostname);
    const pair = [client, node];
    this.#pairs.add(pair);
    const end = () => {
      pair.forEach((socket) => socket.destroy());
      this.#pairs.delete(pair);
    };
    for (const [from, to] of [pair, [node, client]]) {
      from.on('error', () => {}).on('close', end);
      from.pipe(to);
    }
    if (this.#mode === 'silent') this.#silence(pair);
  }

  #silence(pair) {
    for (const socket of pair) socket.unpipe().pause();
  }

  /** Breaks every connection, and refuses new ones. */
  cut() {
    this.#mode = 'cut';
    for (const pair of this.#pairs) pair.forEach((socket) => socket.resetAndDestroy());
  }

  /** Carries nothing any more, without a sign to either side. */
  silence() {
    this.#mode = 'silent';
    for (const pair of this.#pairs) this.#silence(pair);
  }

  /** Lets new connections through. */
  heal() {
    this.#mode = 'open';
  }
}
