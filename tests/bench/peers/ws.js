// Node `ws` as its documentation broadcasts: one send per client. One room.
const http = require('node:http');
const { WebSocketServer } = require('ws');
const control = require('./control');

const server = http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });

const publish = (_room, text) => {
  for (const client of sockets.clients) client.send(text, { binary: false });
};

server.listen(0, '127.0.0.1', 4096, () => {
  control.listen(publish, (port) => {
    console.log(`ready on http://localhost:${server.address().port} control ${port}`);
  });
});
