// An HTTP proxy between SDK and node that does not know everything: WebSocket upgrades, or some paths.

import { createServer, request as ask } from 'node:http';

export class HttpProxy {
  #sockets = new Set();
  #isCut = false;

  /** Forwards to the node at `url` all but what is `refused`: paths, and `upgrade`. */
  static async to(url, refused) {
    const node = new URL(url);
    const proxy = new HttpProxy();
    const server = createServer((request, response) => {
      const path = request.url.split('?')[0];
      // Without a listener for upgrades Node answers them as if they were plain requests.
      if (refused.includes(path) || (request.headers.upgrade && refused.includes('upgrade'))) {
        request.resume();
        response.writeHead(502).end('bad gateway');
        return;
      }
      const { method, headers } = request;
      const onward = ask({ host: node.hostname, port: node.port, path: request.url, method, headers, agent: false }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        response.flushHeaders();
        answer.pipe(response);
        answer.on('error', () => response.destroy());
      });
      onward.on('error', () => response.destroy());
      response.on('close', () => onward.destroy());
      request.pipe(onward);
    });
    server.on('connection', (socket) => {
      if (proxy.#isCut) {
        socket.resetAndDestroy();
        return;
      }
      proxy.#sockets.add(socket);
      socket.on('close', () => proxy.#sockets.delete(socket));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    proxy.url = url.replace(node.host, `127.0.0.1:${server.address().port}`);
    return proxy;
  }

  /** Breaks every connection, and refuses new ones. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Lets new connections through. */
  heal() {
    this.#isCut = false;
  }
}
