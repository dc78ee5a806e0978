"""Who is there."""

from typing import Any

from centrifuge import SubscriptionEventHandler

from stage import Stage


def _ids(clients: list[Any]) -> list[str]:
    return sorted(client.connected[-1].client for client in clients)


async def presence_and_its_numbers(stage: Stage) -> None:
    clients = [await stage.connected(name) for name in ("anna", "ben", "cy")]
    rooms = [await client.join("room") for client in clients]
    present = (await rooms[0].sub.presence()).clients
    assert sorted(present) == _ids(clients), present
    assert all(info.client == client and info.user == "" for client, info in present.items()), present
    stats = await rooms[1].sub.presence_stats()
    assert (stats.num_clients, stats.num_users) == (3, 1), stats
    await rooms[2].sub.unsubscribe()
    await stage.until("cy has left", lambda: len(rooms[2].unsubscribed) == 1)
    rest = (await rooms[0].sub.presence()).clients
    assert sorted(rest) == _ids(clients[:2]), rest


async def joins_and_leaves_are_events(stage: Stage) -> None:
    anna = await stage.connected("anna")
    told: list[tuple[str, str, str]] = []
    events = SubscriptionEventHandler()

    async def on_join(context: Any) -> None:
        told.append(("join", context.info.client, context.info.user))
        stage.note("join", context)

    async def on_leave(context: Any) -> None:
        told.append(("leave", context.info.client, context.info.user))
        stage.note("leave", context)

    events.on_join, events.on_leave = on_join, on_leave
    sub = anna.sdk.new_subscription("live:room", events=events, join_leave=True)
    await sub.subscribe()
    await stage.until("anna saw herself come", lambda: len(told) == 1)
    ben = await stage.connected("ben")
    bens = await ben.join("live:room")
    await stage.until("anna saw ben come", lambda: len(told) == 2)
    await bens.sub.unsubscribe()
    await stage.until("anna saw ben leave", lambda: len(told) == 3)
    annas, id = anna.connected[0].client, ben.connected[0].client
    assert told == [("join", annas, ""), ("join", id, ""), ("leave", id, "")], told
    await sub.publish("on")
    assert len(anna.connected) == 1
