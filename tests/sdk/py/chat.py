"""Connecting and talking."""

import asyncio
import json

import websockets

from stage import Stage, messages, publish


async def connects_with_name_and_data(stage: Stage) -> None:
    data = {"greeting": 'grüß\n"dich"', "list": [1, None]}
    one, two = [await stage.connected(name, version="1.2", data=data) for name in ("one", "two")]
    ids = [client.connected[0].client for client in (one, two)]
    assert all(ids) and ids[0] != ids[1], ids
    await one.sdk.disconnect()
    await stage.until("one is disconnected", lambda: len(one.disconnected) == 1)
    assert one.disconnected[0].code == 0
    await one.sdk.connect()
    await one.is_connected(2)
    assert one.connected[1].client not in ids, "a new connection has a new id"
    assert len(two.connecting) == 1, "the other client noticed nothing"


def _deep(levels: int) -> object:
    return ["core"] if levels == 1 else [_deep(levels - 1)]


_DATA = [
    "text", "", "grüße 日本語 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u202e rtl", 'line\nbreak\r\ttab\u2028\0"\\/',
    None, True, False, 0, -1.5, 1e21, 5e-324, 2**53 - 1, 2**64, -(10**300), [], {}, [[], {}, [None]],
    {"a": {"b": [1, {"c": None}]}, "": 0, 'kéy "x"': "", "push": {"id": 1}}, "{}", "\n", " ", "x" * 50_000, _deep(100),
]  # fmt: skip


async def both_clients_see_exactly_what_was_sent(stage: Stage) -> None:
    anna, ben = await stage.connected("anna"), await stage.connected("ben")
    annas, bens = await anna.join("room"), await ben.join("room")
    await publish(annas, _DATA)
    await publish(bens, ["hi", "bye"])
    for room in (annas, bens):
        await room.got([*_DATA, "hi", "bye"])
        assert room.publications == annas.publications, "both see the same"
    for publication, author in ((bens.publications[0], anna), (annas.publications[-1], ben)):
        assert (publication.info.client, publication.info.user) == (author.connected[0].client, "")


async def everybody_sees_one_order(stage: Stage) -> None:
    clients = [await stage.connected(name) for name in "abcd"]
    rooms = [await client.join("room") for client in clients]
    # All at once: what one client has in flight overtakes nothing of its own.
    await asyncio.gather(*(room.sub.publish(data) for room in rooms for data in messages(room.who, 40)))
    await rooms[0].sub.publish("end")
    for room in rooms:
        await room.ends("end")
        assert room.publications == rooms[0].publications, f"{room.who} sees the order that a sees"
        room.ascends()
        for sender in rooms:
            of_sender = [data for data in room.data[:-1] if data["sender"] == sender.who]
            assert of_sender == messages(sender.who, 40), f"{room.who}: each sender's own order"


async def many_rooms_are_entered_at_once(stage: Stage) -> None:
    writer, reader = await stage.connected("writer"), stage.client("reader")
    rooms = [await reader.enter(f"room-{index}") for index in range(40)]
    await reader.sdk.connect()
    for room in rooms:
        await room.is_subscribed()
    writers = await asyncio.gather(*(writer.join(room.channel) for room in rooms))
    await asyncio.gather(*(room.sub.publish(room.channel) for room in writers))
    for room in rooms:
        await room.got([room.channel])


async def pretty_printed_data_breaks_no_reader(stage: Stage) -> None:
    """Newlines in commands of others stop no reader: for this SDK a newline ends a reply."""
    reader = await stage.connected("reader")
    room = await reader.join("room")
    async with websockets.connect(stage.url, proxy=None) as raw:
        await raw.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"room"}}')
        await raw.send('{"id":3,"publish":{"channel":"room","data":{\n "a" : 1\n}}}')
        await raw.send('{\r\n\t"publish": {\r\n\t\t"data": [ 1,\r\n2 ],\n"channel": "room"},\n"id": 4\n}')
        answered: set[int] = set()
        async with asyncio.timeout(15):
            while not answered >= {3, 4}:
                answered |= {json.loads(line).get("id", 0) for line in str(await raw.recv()).split("\n")}
    await room.sub.publish("end")
    expected = [{"a": 1}, [1, 2], "end"]
    await room.got(expected)
    late = await (await stage.connected("late")).join("room")
    assert [publication.data for publication in (await late.sub.history(limit=-1)).publications] == expected
    assert len(reader.connecting) == 1, "the reader stayed connected"
