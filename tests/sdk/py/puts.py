"""What a backend does with sessions that are connected. NATTER_API names the nodes' server APIs, NATTER_API_KEY is their key."""

import asyncio
import json
import os
import urllib.request
from itertools import cycle
from typing import Any

from proxy import Proxy
from stage import Stage
from token_maker import token

_APIS = cycle(os.environ.get("NATTER_API", "").split(","))


def _ask(url: str, params: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(params).encode(), {"X-API-Key": os.environ["NATTER_API_KEY"]})
    # Directly, whatever proxy the environment names.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)


async def _call(method: str, **params: Any) -> Any:
    """Calls a method, at one node after the other."""
    answer = await asyncio.to_thread(_ask, f"{next(_APIS)}/{method}", params)
    assert "error" not in answer, (method, answer)
    return answer["result"]


async def who_is_put_into_a_room_recovers_it(stage: Stage) -> None:
    """The room is the session's: a new connection has it if its token names it, or if the backend says so again."""
    proxy = await Proxy.to(stage.at(1))
    ann = stage.client("ann", url=proxy.url, token=token(sub="ann"), max_reconnect_delay=0.5)
    heard: dict[str, list[Any]] = {"subscribed": [], "unsubscribed": [], "publication": []}

    def recorder(event: str) -> Any:
        async def record(context: Any) -> None:
            heard[event].append(context)
            stage.note(event, context)

        return record

    for event in heard:
        setattr(ann.sdk.events, f"on_{event}", recorder(event))
    await ann.sdk.connect()
    await ann.is_connected()
    room = {"user": "ann", "channel": "given:news"}

    async def says(*numbers: int) -> None:
        for number in numbers:
            await _call("publish", channel=room["channel"], data=number)

    async def got(last: int) -> None:
        expected = list(range(1, last + 1))
        await stage.until(f"{last} has come", lambda: len(heard["publication"]) >= last)
        assert [context.pub.data for context in heard["publication"]] == expected, heard["publication"]

    async def missed(node: int, *numbers: int) -> None:
        connections = len(ann.connecting)
        proxy.cut()
        await stage.until("the cut is noticed", lambda: len(ann.connecting) > connections)
        await says(*numbers)
        proxy.lead_to(stage.at(node))
        proxy.heal()

    await _call("subscribe", **room, data={"why": "invited"})
    await stage.until("it is told", lambda: len(heard["subscribed"]) == 1)
    first = heard["subscribed"][0]
    assert (first.channel, first.recoverable, first.positioned, first.data) == (room["channel"], True, True, {"why": "invited"})
    await says(1, 2, 3)
    await got(3)

    ann.sdk.set_token(token(sub="ann", channels=[room["channel"]]))
    await missed(2, 4, 5)
    await stage.until("the room is back", lambda: len(heard["subscribed"]) == 2)
    assert (heard["subscribed"][1].was_recovering, heard["subscribed"][1].recovered) == (True, True)
    await says(6)
    await got(6)

    ann.sdk.set_token(token(sub="ann"))
    await missed(0, 7, 8)
    await stage.until("the room is gone", lambda: len(heard["unsubscribed"]) == 1)
    since = {"offset": heard["publication"][-1].pub.offset, "epoch": first.stream_position.epoch}
    await _call("subscribe", **room, recover_since=since)
    await stage.until("it is told again", lambda: len(heard["subscribed"]) == 3)
    await says(9)
    await got(9)

    await _call("unsubscribe", **room)
    await stage.until("it is told of the end", lambda: len(heard["unsubscribed"]) == 2)
    assert not ann.disconnected
