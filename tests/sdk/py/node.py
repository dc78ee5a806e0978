"""The node pings, dies, shuts down, freezes, or is full."""

import asyncio
import time

from centrifuge import CentrifugeError, ClientState, PublishResult, ReplyError, StreamPosition

from stage import Stage, messages, publish


def _flags(subscribed: object) -> tuple[bool, bool]:
    return subscribed.was_recovering, subscribed.recovered


async def pings_keep_the_connection(stage: Stage) -> None:
    """For this SDK only pings count as a sign of life: without them it would leave after 1.5 s, even under traffic."""
    options = {"max_server_ping_delay": 0.5}
    writer, reader, idle = [await stage.connected(name, **options) for name in ("writer", "reader", "idle")]
    writing, room = await writer.join("room"), await reader.join("room")
    sent = []
    begun = time.monotonic()
    while time.monotonic() < begun + 3.5:
        sent.append({"n": len(sent)})
        await writing.sub.publish(sent[-1])
        await room.ends(sent[-1])
    await room.got(sent)
    for client in (writer, reader, idle):
        assert len(client.connecting) == 1, f"{client.name} stayed connected"


async def killed_node_comes_back(stage: Stage) -> None:
    """The embedded broker forgets when the node dies: the SDK is told, and goes on."""
    writer, reader = [await stage.connected(name, max_reconnect_delay=1.0) for name in ("writer", "reader")]
    writing, room, silent = await writer.join("room"), await reader.join("room"), await reader.join("silent")
    before = messages("before", 10)
    await publish(writing, before)
    await room.got(before)
    epoch = room.subscribed[0].stream_position.epoch
    await stage.driver("KILL")
    await stage.until("the clients notice", lambda: all(len(client.connecting) == 2 for client in stage.clients))
    await stage.driver("RESTART")
    for each in (writing, room, silent):
        await each.is_subscribed(2)
        assert _flags(each.subscribed[1]) == (True, False), each.who
    assert room.subscribed[1].stream_position.epoch != epoch, "a new incarnation"
    room.publications.clear()
    after = messages("after", 20)
    await publish(writing, after)
    await room.got(after)
    # From now on recovery works as ever.
    await reader.sdk.disconnect()
    await publish(writing, messages("later", 5))
    await reader.sdk.connect()
    await room.is_subscribed(3)
    room.recovered()
    await room.got([*after, *messages("later", 5)])


async def lost_history_has_the_state_loaded_again(stage: Stage) -> None:
    """An application that keeps its own state is asked for it exactly when the node cannot tell what was missed."""
    writer, reader = [await stage.connected(name, max_reconnect_delay=1.0) for name in ("writer", "reader")]
    writing = await writer.join("room")
    await publish(writing, messages("before", 3))
    loaded = []

    async def get_state(channel: str) -> StreamPosition:
        top = await writing.sub.history()
        loaded.append(channel)
        return StreamPosition(top.offset, top.epoch)

    room = await reader.join("room", get_state=get_state)
    assert len(loaded) == 1
    await publish(writing, ["live"])
    await room.got(["live"])
    await reader.sdk.disconnect()
    await publish(writing, ["missed"])
    await reader.sdk.connect()
    await room.got(["live", "missed"])
    assert len(loaded) == 1, "nothing was lost, so nothing was loaded"
    subscribed = [len(each.subscribed) for each in (writing, room)]
    await stage.driver("KILL")
    await stage.driver("RESTART")
    for each, times in zip((writing, room), subscribed):
        await each.is_subscribed(times + 1)
    assert len(loaded) == 2, "the node forgot, so the state was loaded again"
    room.publications.clear()
    await publish(writing, ["after"])
    await room.got(["after"])


async def shutdown_says_so_and_loses_no_client(stage: Stage) -> None:
    clients = [await stage.connected(name, max_reconnect_delay=1.0) for name in "abc"]
    rooms = [await client.join("room") for client in clients]
    await publish(rooms[0], ["before"])
    for room in rooms:
        await room.got(["before"])
    await stage.driver("TERM")
    await stage.until("the clients are told", lambda: all(len(client.connecting) >= 2 for client in clients))
    for client in clients:
        assert (client.connecting[1].code, client.connecting[1].reason) == (3001, "shutdown"), client.name
    await stage.driver("RESTART")
    for room in rooms:
        await room.is_subscribed(2)
        room.publications.clear()
    await publish(rooms[0], ["after"])
    for room in rooms:
        await room.got(["after"])


async def frozen_node_loses_nothing(stage: Stage) -> None:
    """A node that stands still for longer than SDKs wait is left and found again, without loss."""
    options = {"timeout": 2.0, "max_server_ping_delay": 0.3, "max_reconnect_delay": 0.5}
    writer, reader = [await stage.connected(name, **options) for name in ("writer", "reader")]
    writing, room = await writer.join("room"), await reader.join("room")
    sent = messages("writer", 10)
    await publish(writing, sent)
    await room.got(sent)
    await stage.driver("STOP")
    # In flight when the connection is given up: the application hears that it does not know.
    tries = [asyncio.create_task(writing.sub.publish(data)) for data in messages("in flight", 5)]
    await stage.until("the clients miss the ping", lambda: all(len(each.connecting) >= 2 for each in stage.clients))
    assert [client.connecting[1].reason for client in stage.clients] == ["no ping", "no ping"]
    await stage.driver("CONT")
    for each in (writing, room):
        await each.is_subscribed(2)
        assert _flags(each.subscribed[-1]) == (True, True), each.who
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert all(isinstance(outcome, (CentrifugeError, PublishResult)) for outcome in outcomes), outcomes
    await publish(writing, ["end"])
    for each in (writing, room):
        await each.ends("end")
        each.ascends()
        doubtful = [data for data in each.data[:-1] if data["sender"] == "in flight"]
        assert each.data == [*sent, *doubtful, "end"], f"{each.who}: {each.data}"
        assert doubtful == messages("in flight", len(doubtful)), f"{each.who}: in order, each at most once"
        lost = [outcome for outcome in outcomes[len(doubtful) :] if isinstance(outcome, PublishResult)]
        assert not lost, f"{each.who}: what was acknowledged is there"
    assert writing.data == room.data, "both saw the same"


async def full_node_lets_in_later(stage: Stage) -> None:
    """Beside two connections a third has to wait, and gets in by itself when one leaves."""
    one, _ = [await stage.connected(name) for name in ("one", "two")]
    third = stage.client("third", max_reconnect_delay=0.5)
    room = await third.enter("room")
    await third.sdk.connect()
    await stage.until("the third is turned away twice", lambda: len(third.errors) >= 2)
    for context in third.errors:
        assert isinstance(context.error, ReplyError) and context.error.code == 111, context
    assert third.sdk.state == ClientState.CONNECTING
    await one.sdk.disconnect()
    await room.is_subscribed()
    await publish(room, ["in"])
    await room.got(["in"])
    assert third.disconnected == [], "a full node is never terminal"
