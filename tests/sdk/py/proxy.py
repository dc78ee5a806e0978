"""A TCP proxy between SDK and node, whose cable can be cut."""

import asyncio
from urllib.parse import urlsplit

Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Proxy:
    def __init__(self, url: str) -> None:
        self.lead_to(url)
        # The connections that are carried.
        self._pairs: set[Pair] = set()
        self._open = True
        self._silent = False

    @classmethod
    async def to(cls, url: str) -> "Proxy":
        """Listens, and forwards to the node at `url`."""
        proxy = cls(url)
        # Kept: a server that nobody holds is closed.
        proxy._server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        port = proxy._server.sockets[0].getsockname()[1]
        proxy.url = url.replace(proxy._node.netloc, f"127.0.0.1:{port}")
        return proxy

    def lead_to(self, url: str) -> None:
        """Forwards new connections to the node at `url`."""
        self._node = urlsplit(url)

    async def _accept(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if not self._open:
            client.transport.abort()
            return
        node_reader, node = await asyncio.open_connection(self._node.hostname, self._node.port)
        pair = (client, node)
        if not self._silent:
            self._pairs.add(pair)
        await asyncio.gather(self._carry(client_reader, node, pair), self._carry(node_reader, client, pair))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, pair: Pair) -> None:
        try:
            while data := await source.read(65536):
                if pair in self._pairs:
                    target.write(data)
                    await target.drain()
        except OSError:
            pass
        self._pairs.discard(pair)
        for writer in pair:
            writer.transport.abort()

    def cut(self) -> None:
        """Breaks every connection, and refuses new ones."""
        self._open = False
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()
        self._pairs.clear()

    def silence(self) -> None:
        """Drops what existing and new connections carry, without a sign to either side."""
        self._silent = True
        self._pairs.clear()

    def heal(self) -> None:
        """Lets new connections through."""
        self._open = True
        self._silent = False
