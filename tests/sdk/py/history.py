"""What a room keeps, and coming back to it."""

import asyncio
from typing import Any

from centrifuge import StreamPosition

from stage import Stage, messages, publish


def _data(page: Any) -> list[Any]:
    return [publication.data for publication in page.publications]


async def history_goes_both_ways(stage: Stage) -> None:
    client = await stage.connected("client")
    room = await client.join("room")
    assert _data(await room.sub.history(limit=10)) == []
    sent = messages("client", 12)
    await publish(room, sent)
    await room.got(sent)

    whole = await room.sub.history(limit=-1)
    assert _data(whole) == sent
    assert whole.publications == room.publications, "history is what was pushed"
    assert whole.offset == room.publications[11].offset
    assert whole.epoch == room.subscribed[0].stream_position.epoch
    top = await room.sub.history()
    assert (_data(top), top.offset, top.epoch) == ([], whole.offset, whole.epoch)

    def since(index: int) -> StreamPosition:
        return StreamPosition(whole.publications[index].offset, whole.epoch)

    pages = [
        ({"limit": 5}, sent[:5]),
        ({"limit": 5, "reverse": True}, sent[:6:-1]),
        ({"limit": 5, "since": since(3)}, sent[4:9]),
        ({"limit": -1, "since": since(3)}, sent[4:]),
        ({"limit": 5, "since": since(11)}, []),
        ({"limit": 2, "since": since(3), "reverse": True}, [sent[2], sent[1]]),
        ({"limit": 3, "since": StreamPosition(0, whole.epoch)}, sent[:3]),
    ]
    for options, expected in pages:
        assert _data(await room.sub.history(**options)) == expected, options


async def long_history_comes_in_pages(stage: Stage) -> None:
    """1.6 MB do not fit into one page: reading on from the last offset gets the rest."""
    room = await (await stage.connected("client")).join("room")
    sent = [{**message, "text": "x" * 40_000} for message in messages("client", 40)]
    await publish(room, sent)
    await room.got(sent)
    found: list[Any] = []
    pages = 0
    since = None
    while len(found) < len(sent):
        page = await room.sub.history(limit=-1, since=since)
        assert page.publications, "every page brings something"
        found += _data(page)
        since = StreamPosition(page.publications[-1].offset, page.epoch)
        pages += 1
    assert found == sent
    assert pages > 1, "one page would be a frame too large for some readers"


async def resubscribe_recovers(stage: Stage) -> None:
    writer, reader = await stage.connected("writer"), await stage.connected("reader")
    writing, room = await writer.join("room"), await reader.join("room")
    sent = messages("writer", 60)
    await publish(writing, sent[:10])
    await room.got(sent[:10])
    for times, start in enumerate(range(10, 60, 10), 2):
        await room.sub.unsubscribe()
        await publish(writing, sent[start : start + 10])
        await room.sub.subscribe()
        await room.is_subscribed(times)
        room.recovered()
        await room.got(sent[: start + 10])
    assert len(reader.connecting) == 1, "all on one connection"


async def resubscribe_under_traffic_recovers(stage: Stage) -> None:
    """Leaving and entering while messages are on their way: between history and live is no gap and no overlap."""
    writer, reader = await stage.connected("writer"), await stage.connected("reader")
    writing, room = await writer.join("room"), await reader.join("room")
    sent = messages("writer", 300)
    publishing = asyncio.create_task(publish(writing, sent))
    times = 1
    while (before := len(room.publications)) < 250:
        await stage.until("more has come", lambda: len(room.publications) > before)
        await room.sub.unsubscribe()
        await room.sub.subscribe()
        times += 1
        await room.is_subscribed(times)
        room.recovered()
    await publishing
    await room.got(sent)


async def offline_tab_catches_up(stage: Stage) -> None:
    """A client that was closed for a while catches up with what another wrote."""
    first, second = await stage.connected("first"), await stage.connected("second")
    room, other = await first.join("room"), await second.join("room")
    await publish(room, ["before"])
    await room.got(["before"])
    await first.sdk.disconnect()
    missed = messages("second", 20)
    await publish(other, missed)
    await first.sdk.connect()
    await room.is_subscribed(2)
    room.recovered()
    await publish(room, ["back"])
    for reading in (room, other):
        await reading.got(["before", *missed, "back"])
