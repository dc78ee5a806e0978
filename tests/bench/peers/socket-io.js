// Socket.IO over WebSocket only, with the memory savings its documentation names. One room.
const http = require('node:http');
const { Server } = require('socket.io');
const control = require('./control');

const server = http.createServer();
const io = new Server(server, {
  transports: ['websocket'],
  perMessageDeflate: false,
  pingInterval: 600_000,
});
io.engine.on('connection', (socket) => { socket.request = null; });
io.on('connection', (socket) => socket.join('room'));

const publish = (_room, text) => io.to('room').emit('m', text.toString('latin1'));

server.listen(0, '127.0.0.1', 4096, () => {
  control.listen(publish, (port) => {
    console.log(`ready on http://localhost:${server.address().port} control ${port}`);
  });
});
