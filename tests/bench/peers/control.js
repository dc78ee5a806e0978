// Where messages come in: [u32 length][u32 room][text], little-endian, one way (tests/bench/src/control.rs).
const net = require('node:net');

const HEAD = 8;

/** Listens on a free port and calls `publish(room, text)` with each message; `text` is a Buffer. */
exports.listen = (publish, ready) => {
  const server = net.createServer((socket) => {
    let waiting = Buffer.alloc(0);
    socket.on('data', (data) => {
      waiting = waiting.length ? Buffer.concat([waiting, data]) : data;
      let at = 0;
      while (waiting.length - at >= HEAD) {
        const end = at + HEAD + waiting.readUInt32LE(at);
        if (waiting.length < end) break;
        publish(waiting.readUInt32LE(at + 4), waiting.subarray(at + HEAD, end));
        at = end;
      }
      waiting = waiting.subarray(at);
    });
  });
  server.listen(0, '127.0.0.1', () => ready(server.address().port));
};
