"""The network between SDK and node breaks; the node stays."""

import asyncio
from typing import Any

from proxy import Proxy
from stage import Client, Room, Stage, messages, publish

# Reconnects quickly, so that a scenario is short; everything else as it comes.
_QUICK = {"max_reconnect_delay": 0.5}


async def _reader_behind_proxy(stage: Stage, **options: Any) -> tuple[Proxy, Room, Client, Room]:
    proxy = await Proxy.to(stage.url)
    writer, reader = await stage.connected("writer"), await stage.connected("reader", url=proxy.url, **options)
    return proxy, await writer.join("room"), reader, await reader.join("room")


async def cut_network_costs_nothing(stage: Stage) -> None:
    proxy, writing, reader, room = await _reader_behind_proxy(stage)
    sent = messages("writer", 60)
    await publish(writing, sent[:5])
    await room.got(sent[:5])
    proxy.cut()
    await stage.until("the reader notices", lambda: len(reader.connecting) == 2)
    await publish(writing, sent[5:55])
    proxy.heal()
    await room.is_subscribed(2)
    room.recovered()
    await publish(writing, sent[55:])
    await room.got(sent)


async def cuts_under_traffic_lose_nothing(stage: Stage) -> None:
    """Messages before, during and after each of several cuts, without a pause: each arrives once, in order."""
    proxy, writing, reader, room = await _reader_behind_proxy(stage, **_QUICK)
    sent: list[Any] = []
    stop = asyncio.Event()

    async def keep_publishing() -> None:
        while not stop.is_set():
            sent.append({"n": len(sent), "text": "x" * 1_000})
            await writing.sub.publish(sent[-1])

    publishing = asyncio.create_task(keep_publishing())
    for times in (2, 3, 4):
        before = len(room.publications)
        await stage.until("messages flow", lambda: len(room.publications) > before + 20)
        proxy.cut()
        await stage.until("the reader notices", lambda: len(reader.connecting) == times)
        proxy.heal()
        await room.is_subscribed(times)
        room.recovered()
    stop.set()
    await publishing
    await publish(writing, ["end"])
    await room.got([*sent, "end"])


async def large_recovery_is_complete(stage: Stage) -> None:
    """2 MB were missed: more than the SDK's WebSocket library takes in one message unless told otherwise."""
    proxy, writing, reader, room = await _reader_behind_proxy(stage, **_QUICK)
    await publish(writing, ["before"])
    await room.got(["before"])
    proxy.cut()
    await stage.until("the reader notices", lambda: len(reader.connecting) == 2)
    missed = [{**message, "text": "x" * 20_000} for message in messages("writer", 100)]
    await publish(writing, missed)
    proxy.heal()
    await room.is_subscribed(2)
    room.recovered()
    await publish(writing, ["after"])
    await room.got(["before", *missed, "after"])


async def silent_network_costs_nothing(stage: Stage) -> None:
    """No close, no error, just silence: the SDK misses the ping and comes back, and nothing is lost."""
    options = {**_QUICK, "timeout": 1.0, "max_server_ping_delay": 0.5}
    proxy, writing, reader, room = await _reader_behind_proxy(stage, **options)
    sent = messages("writer", 30)
    await publish(writing, sent[:5])
    await room.got(sent[:5])
    proxy.silence()
    await publish(writing, sent[5:25])
    await stage.until("the reader misses the ping", lambda: len(reader.connecting) == 2)
    assert reader.connecting[1].reason == "no ping"
    proxy.heal()
    await room.is_subscribed(2)
    room.recovered()
    await publish(writing, sent[25:])
    await room.got(sent)


async def many_rooms_with_tokens_come_back(stage: Stage) -> None:
    """128 rooms with long subscription tokens."""

    async def get_token(channel: str) -> str:
        return channel.ljust(600, ".")

    proxy, writing, reader, _ = await _reader_behind_proxy(stage, **_QUICK)
    names = [f"room-{index}" for index in range(127)]
    rooms = await asyncio.gather(*(reader.join(name, get_token=get_token) for name in names))
    second = await stage.connected("second writer")
    writers = await asyncio.gather(*(second.join(name) for name in names))
    proxy.cut()
    await stage.until("the reader notices", lambda: len(reader.connecting) == 2)
    await asyncio.gather(*(room.sub.publish(f"{room.channel} was missed") for room in writers))
    proxy.heal()
    for room in reader.rooms:
        await room.is_subscribed(2)
        room.recovered()
    await asyncio.gather(*(room.sub.publish("live") for room in writers))
    for room in rooms:
        await room.got([f"{room.channel} was missed", "live"])
    await publish(writing, ["end"])
    assert len(reader.connecting) == 2, "the connection stayed"
