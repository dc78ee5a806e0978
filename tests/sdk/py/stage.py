"""What scenarios are played on: clients and rooms that record all they are told, conditions with deadlines, and the
driver that owns the node."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

from centrifuge import Client as SdkClient
from centrifuge import ClientEventHandler, ClientState, ReplyError, SubscriptionEventHandler, SubscriptionState

# No condition in a healthy run comes near this.
DEADLINE_SECONDS = 15.0


class Stage:
    def __init__(self, url: str, use_protobuf: bool) -> None:
        self.urls = url.split(",")
        self.url = self.urls[0]
        self.use_protobuf = use_protobuf
        self.clients: list[Client] = []
        self._log: list[str] = []
        self._happened = asyncio.Event()
        self._failure: str | None = None

    def note(self, *what: Any) -> None:
        """Writes down what happened and has every condition looked at that is waited for."""
        if self._failure:
            raise AssertionError(self._failure)
        if what:
            self._log.append(" ".join(map(str, what)))
        self._happened.set()
        self._happened = asyncio.Event()

    def fail(self, context: dict[str, Any]) -> None:
        self._failure = f"the SDK failed on its own: {context}"
        self._happened.set()

    async def until(self, what: str, holds: Callable[[], bool], deadline: float = DEADLINE_SECONDS) -> None:
        """Waits until `holds()`; it is asked again whenever something happened."""
        try:
            async with asyncio.timeout(deadline):
                while not holds():
                    await self._happened.wait()
                    if self._failure:
                        raise AssertionError(self._failure)
        except TimeoutError:
            raise AssertionError(f"not within {deadline} s: {what}") from None

    async def driver(self, command: str) -> None:
        """Has the driver do something to the node: KILL, RESTART, TERM, STOP or CONT."""
        self.note("driver", command)
        print(command, flush=True)
        answer = await asyncio.to_thread(sys.stdin.readline)
        assert answer.strip() == "DONE", f"the driver could not {command}"

    def at(self, number: int) -> str:
        """Where a node is; with fewer nodes they count from the first one again."""
        return self.urls[number % len(self.urls)]

    def client(self, name: str, url: str | None = None, **options: Any) -> "Client":
        """A client that is not connecting yet."""
        client = Client(self, name, url or self.url, options)
        self.clients.append(client)
        return client

    async def connected(self, name: str, **options: Any) -> "Client":
        client = self.client(name, **options)
        await client.sdk.connect()
        await client.is_connected()
        return client

    async def leave(self) -> None:
        for client in self.clients:
            await client.sdk.disconnect()

    def report(self) -> str:
        """The last that happened, for a failure."""
        rooms = [room for client in self.clients for room in client.rooms[:3]]
        states = [f"{room.who}: {len(room.publications)} publications, {room.sub.state}" for room in rooms]
        return "\n".join(self._log[-60:] + states)


class Client:
    """An SDK client with everything it was told."""

    def __init__(self, stage: Stage, name: str, url: str, options: dict[str, Any]) -> None:
        self.stage = stage
        self.name = name
        self.connected: list[Any] = []
        self.connecting: list[Any] = []
        self.disconnected: list[Any] = []
        self.errors: list[Any] = []
        self.rooms: list[Room] = []
        events = ClientEventHandler()
        for event in ("connected", "connecting", "disconnected", "error"):
            told = getattr(self, "errors" if event == "error" else event)
            setattr(events, f"on_{event}", recorder(stage, name, event, told))
        # The node is reached directly, whatever proxy the environment names.
        self.sdk = SdkClient(url, events=events, use_protobuf=stage.use_protobuf, **{"proxy": None, "name": name, **options})
        if stage.use_protobuf:
            in_json(self.sdk)

    async def is_connected(self, times: int = 1) -> None:
        await self.stage.until(
            f"{self.name} is connected {times}x",
            lambda: len(self.connected) >= times and self.sdk.state == ClientState.CONNECTED,
        )

    async def enter(self, channel: str, **options: Any) -> "Room":
        """Subscribes to a room, without waiting for the answer."""
        room = Room(self, channel, options)
        self.rooms.append(room)
        await room.sub.subscribe()
        return room

    async def join(self, channel: str, **options: Any) -> "Room":
        room = await self.enter(channel, **options)
        await room.is_subscribed()
        return room


class Room:
    """A subscription with everything it was told."""

    def __init__(self, client: Client, channel: str, options: dict[str, Any]) -> None:
        self.stage = client.stage
        self.channel = channel
        self.who = f"{client.name} in {channel}"
        self.subscribed: list[Any] = []
        self.subscribing: list[Any] = []
        self.unsubscribed: list[Any] = []
        self.errors: list[Any] = []
        self.publications: list[Any] = []
        events = SubscriptionEventHandler()
        for event in ("subscribed", "subscribing", "unsubscribed", "error"):
            told = getattr(self, "errors" if event == "error" else event)
            setattr(events, f"on_{event}", recorder(self.stage, self.who, event, told))

        async def on_publication(context: Any) -> None:
            publication = readable(context.pub) if self.stage.use_protobuf else context.pub
            self.publications.append(publication)
            self.stage.note()

        events.on_publication = on_publication
        self.sub = client.sdk.new_subscription(channel, events=events, **options)

    @property
    def data(self) -> list[Any]:
        return [publication.data for publication in self.publications]

    async def is_subscribed(self, times: int = 1) -> None:
        await self.stage.until(
            f"{self.who} is subscribed {times}x",
            lambda: len(self.subscribed) >= times and self.sub.state == SubscriptionState.SUBSCRIBED,
        )

    def recovered(self) -> None:
        """Says that the last subscribe brought what was missed."""
        assert (self.subscribed[-1].was_recovering, self.subscribed[-1].recovered) == (True, True), self.who

    async def ends(self, last: Any) -> None:
        """Waits until the publication with this data is the last one."""
        text = json.dumps(last)
        await self.stage.until(
            f"{self.who} has {text:.200}",
            lambda: bool(self.publications) and json.dumps(self.publications[-1].data) == text,
        )

    async def got(self, expected: list[Any]) -> None:
        """Has got exactly these messages, in this order, each once."""
        await self.ends(expected[-1])
        assert self.data == expected, f"{self.who} got {short(self.data)}\ninstead of {short(expected)}"
        self.ascends()

    def ascends(self) -> None:
        offsets = [publication.offset for publication in self.publications]
        assert offsets == sorted(set(offsets)), f"{self.who}: offsets ascend, each once: {offsets}"


def in_json(sdk: SdkClient) -> None:
    """With Protobuf the SDK leaves data to the application: here that is JSON, as everybody else in the rooms has it.

    Subscriptions publish and read history through their client.
    """
    publish, history, rpc = sdk.publish, sdk.history, sdk.rpc

    async def publish_json(channel: str, data: Any, **options: Any) -> Any:
        return await publish(channel, json.dumps(data).encode(), **options)

    async def rpc_json(method: str, data: Any, **options: Any) -> Any:
        return await rpc(method, json.dumps(data).encode(), **options)

    async def history_json(*args: Any, **options: Any) -> Any:
        page = await history(*args, **options)
        return dataclasses.replace(page, publications=[readable(publication) for publication in page.publications])

    sdk.publish, sdk.history, sdk.rpc = publish_json, history_json, rpc_json


def readable(publication: Any) -> Any:
    return dataclasses.replace(publication, data=json.loads(publication.data))


def recorder(stage: Stage, who: str, event: str, told: list[Any]) -> Callable[[Any], Any]:
    async def record(context: Any) -> None:
        told.append(context)
        stage.note(who, event, context)

    return record


def short(data: list[Any]) -> str:
    return ", ".join(f"{json.dumps(each):.60}" for each in data)


def messages(sender: str, count: int, start: int = 1) -> list[dict[str, Any]]:
    """`count` messages that tell who sent them and when in his row."""
    return [{"sender": sender, "n": start + index} for index in range(count)]


async def publish(room: Room, data: list[Any]) -> None:
    """Publishes one after the other."""
    for each in data:
        await room.sub.publish(each)


async def refused(call: Any) -> ReplyError:
    """The error that answers a call."""
    try:
        done = await call
    except ReplyError as error:
        return error
    raise AssertionError(f"an error was expected, but it was done: {done}")
