// The SDKs that scenarios are played with: each makes a client of the same surface for the node at a WebSocket URL.

import WebSocket from 'ws';

/** Where the node is for a client that may not use WebSocket. */
function endpoints(url, ...transports) {
  const base = url.replace(/^ws/, 'http').replace('/connection/websocket', '');
  return {
    list: transports.map((transport) => ({ transport, endpoint: transport === 'websocket' ? url : `${base}/connection/${transport}` })),
    emulation: { emulationEndpoint: `${base}/emulation` },
  };
}

const over = (...transports) => ({ Centrifuge }, url, options) => {
  const { list, emulation } = endpoints(url, ...transports);
  return new Centrifuge(list, { ...emulation, ...options });
};

const MADE = {
  centrifuge: ({ Centrifuge }, url, options) => new Centrifuge(url, options),
  // 5.7.1 mixes up publications that come right behind a reply unless every frame is an event of its own, as in browsers.
  'centrifuge-571': ({ Centrifuge }, url, options) => {
    class EachFrameAlone extends options.websocket {
      constructor(...handshake) {
        super(...handshake, { allowSynchronousEvents: false });
      }
    }
    return new Centrifuge(url, { ...options, websocket: EachFrameAlone });
  },
  'centrifuge/build/protobuf': ({ Centrifuge }, url, options) => {
    const data = options.data === undefined ? {} : { data: encode(options.data) };
    return inJson(new Centrifuge(url, { ...options, ...data }));
  },
  http_stream: over('http_stream'),
  // `node --experimental-eventsource`
  sse: over('sse'),
  // As a page lists them that wants to get through everywhere.
  fallback: over('websocket', 'http_stream', 'sse'),
  'protobuf over http_stream': ({ Centrifuge }, url, options) => {
    const { list, emulation } = endpoints(url, 'http_stream');
    const data = options.data === undefined ? {} : { data: encode(options.data) };
    return inJson(new Centrifuge(list, { ...emulation, ...options, ...data }));
  },
};

/** The packages of those that are not called like one. */
const PACKAGES = { http_stream: 'centrifuge', sse: 'centrifuge', fallback: 'centrifuge', 'protobuf over http_stream': 'centrifuge/build/protobuf' };

export const names = Object.keys(MADE);

/** Loads an SDK; what comes back makes clients of it. */
export async function load(name) {
  const sdk = await import(PACKAGES[name] ?? name);
  return (url, options) => MADE[name](sdk, url, options);
}

/** A WebSocket that keeps what it sent and got, and reports to `note`. */
export function recorded(sockets, note) {
  return class Recorded extends WebSocket {
    sent = [];
    received = [];

    constructor(...handshake) {
      super(...handshake);
      sockets.push(this);
      this.on('message', (data) => {
        this.received.push(Buffer.from(data).toString());
        note();
      });
    }

    send(data, ...rest) {
      this.sent.push(data);
      super.send(data, ...rest);
    }
  };
}

const encode = (data) => new TextEncoder().encode(JSON.stringify(data));
/** What the Protobuf SDK has as bytes, as everybody else has it. Data that is not there is empty. */
export const decoded = (data) => {
  if (!(data instanceof Uint8Array)) return data;
  return data.length ? decode(data) : undefined;
};
const decode = (bytes) => JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));

/** The Protobuf SDK leaves data to the application: here that is JSON, as everybody else in the rooms has it. */
function inJson(client) {
  const readable = ({ info: { user, client }, ...publication }) => ({ ...publication, data: decode(publication.data), info: { user, client } });
  // Subscriptions publish and read history through their client.
  const [publish, history] = [client.publish.bind(client), client.history.bind(client)];
  client.publish = (channel, data) => publish(channel, encode(data));
  client.history = async (...args) => {
    const page = await history(...args);
    return { ...page, publications: page.publications.map(readable) };
  };
  const newSubscription = client.newSubscription.bind(client);
  client.newSubscription = (...args) => {
    const sub = newSubscription(...args);
    const on = sub.on.bind(sub);
    sub.on = (event, listener) => on(event, event === 'publication' ? (publication) => listener(readable(publication)) : listener);
    return sub;
  };
  return client;
}
