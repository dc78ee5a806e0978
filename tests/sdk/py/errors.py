"""What is refused reaches the application with the documented code, and nothing else breaks."""

import asyncio

from centrifuge import ReplyError, StreamPosition

from stage import Stage, messages, publish, refused


async def errors_have_their_codes(stage: Stage) -> None:
    client = await stage.connected("client")
    room = await client.join("room")
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    cases = [
        ("publish without subscribe", client.sdk.publish("elsewhere", 1), 103),
        ("history without subscribe", client.sdk.history("elsewhere", limit=1), 103),
        ("publish to an unknown class", client.sdk.publish("unknown:room", 1), 102),
        ("publish to a room with a name too long", client.sdk.publish("r" * 256, 1), 107),
        ("a message too large", room.sub.publish("x" * 70_000), 106),
        ("a message nested too deep", room.sub.publish(deep), 107),
        ("history of another epoch", room.sub.history(limit=1, since=StreamPosition(1, "other")), 112),
        ("rpc", client.sdk.rpc("chat.send", {"x": 1}), 108),
    ]
    for what, call, code in cases:
        error = await refused(call)
        assert (error.code, bool(error.message)) == (code, True), f"{what}: {error}"
    for channel, code in (("r" * 256, 107), ("unknown:room", 102)):
        other = await client.enter(channel)
        await stage.until(f"{channel} is refused", lambda: len(other.unsubscribed) == 1)
        assert other.unsubscribed[0].code == code
    await publish(room, ["still here"])
    await room.got(["still here"])
    assert len(client.connecting) == 1, "the connection stayed"


async def room_129_is_refused(stage: Stage) -> None:
    client = await stage.connected("client")
    rooms = await asyncio.gather(*(client.join(f"room-{index}") for index in range(128)))
    extra = await client.enter("one-too-many")
    await stage.until("room 129 is refused", lambda: len(extra.unsubscribed) == 1)
    assert extra.unsubscribed[0].code == 106
    await publish(rooms[127], ["still here"])
    await rooms[127].got(["still here"])
    await rooms[0].sub.unsubscribe()
    await extra.sub.subscribe()
    await extra.is_subscribed()
    assert len(client.connecting) == 1, "the connection stayed"


async def publish_rate_is_limited(stage: Stage) -> None:
    writer, reader = await stage.connected("writer"), await stage.connected("reader")
    room, reading = await writer.join("room"), await reader.join("room")
    sent = messages("writer", 120)
    outcomes = await asyncio.gather(*(room.sub.publish(data) for data in sent), return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert 0 < len(refusals) <= 70, f"50 of 120 at once are allowed: {len(refusals)} refused"
    assert all(isinstance(error, ReplyError) and error.code == 111 and error.temporary for error in refusals), refusals
    # The rate lets publishes through again by itself.
    while isinstance((await asyncio.gather(room.sub.publish("again"), return_exceptions=True))[0], ReplyError):
        pass
    accepted = [data for data, outcome in zip(sent, outcomes) if not isinstance(outcome, BaseException)]
    await reading.got([*accepted, "again"])
    assert len(writer.connecting) == 1, "the connection stayed"
