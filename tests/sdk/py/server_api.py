"""Every method of the server API, called with `cent`: server_api.py KEY (CLIENTS_URL API_URL)..."""

import asyncio
import sys
from collections.abc import Callable
from itertools import cycle
from typing import Any

import cent
from cent.exceptions import CentApiResponseError, CentUnauthorizedError

from stage import Stage


def refusal(call: Callable[[], Any]) -> CentApiResponseError:
    try:
        answer = call()
    except CentApiResponseError as error:
        return error
    raise AssertionError(f"expected an error, got {answer}")


def asks_with_a_wrong_key(api_url: str) -> None:
    try:
        cent.Client(api_url, "wrong").info(cent.InfoRequest())
    except CentUnauthorizedError:
        return
    raise AssertionError("a wrong key opened the server API")


def publishes(api: Callable[[], cent.Client]) -> None:
    tags = {"kind": "note"}
    first = api().publish(cent.PublishRequest(channel="history", data={"n": 1}, tags=tags, idempotency_key="one"))
    again = api().publish(cent.PublishRequest(channel="history", data={"n": 1}, tags=tags, idempotency_key="one"))
    assert (first.offset, first.epoch) == (again.offset, again.epoch) and first.offset > 0 and first.epoch
    api().publish(cent.PublishRequest(channel="history", data=None, b64data="eyJuIjoyfQ=="))
    api().publish(cent.PublishRequest(channel="history", data={"n": 0}, skip_history=True))
    page = api().history(cent.HistoryRequest(channel="history", limit=10))
    assert [publication.data for publication in page.publications] == [{"n": 1}, {"n": 2}], page
    assert page.publications[0].tags == tags and page.publications[0].offset == first.offset
    assert (page.epoch, page.offset >= page.publications[1].offset) == (first.epoch, True)
    since = cent.StreamPosition(offset=first.offset, epoch=first.epoch)
    page = api().history(cent.HistoryRequest(channel="history", limit=10, since=since))
    assert [publication.data for publication in page.publications] == [{"n": 2}], page
    page = api().history(cent.HistoryRequest(channel="history", limit=1, reverse=True))
    assert [publication.data for publication in page.publications] == [{"n": 2}], page
    assert api().history(cent.HistoryRequest(channel="history")).publications == []

    api().publish(cent.PublishRequest(channel="erased", data=1))
    api().history_remove(cent.HistoryRemoveRequest(channel="erased"))
    assert api().history(cent.HistoryRequest(channel="erased", limit=10)).publications == []

    done = api().broadcast(cent.BroadcastRequest(channels=["a", "unknown:b", "c"], data=[1]))
    assert [response.error and response.error.code for response in done.responses] == [None, 102, None], done
    assert refusal(lambda: api().publish(cent.PublishRequest(channel="unknown:b", data=1))).code == 102

    for parallel in (False, True):
        requests = [cent.PublishRequest(channel="a", data=2), cent.HistoryRequest(channel="c", limit=1), cent.InfoRequest()]
        replies = api().batch(cent.BatchRequest(requests=requests, parallel=parallel)).replies
        assert replies[0].offset > 0 and replies[1].publications[0].data == [1] and replies[2].nodes, replies


async def reaches_sessions(api: Callable[[], cent.Client], urls: list[str]) -> None:
    loop = asyncio.get_running_loop()

    async def call(request: Callable[[cent.Client], Any]) -> Any:
        return await loop.run_in_executor(None, request, api())

    stage = Stage(urls[0], use_protobuf=False)
    clients = [await stage.connected(f"client-{at}", url=url) for at, url in enumerate(urls)]
    rooms = [await client.join("live") for client in clients]
    await call(lambda it: it.publish(cent.PublishRequest(channel="live", data="one", tags={"a": "b"})))
    for room in rooms:
        await room.got(["one"])
        assert room.publications[0].tags == {"a": "b"}, room.publications

    channels = (await call(lambda it: it.channels(cent.ChannelsRequest(pattern="li*")))).channels
    assert {name: channel.num_clients for name, channel in channels.items()} == {"live": len(urls)}, channels
    nodes = (await call(lambda it: it.info(cent.InfoRequest()))).nodes
    assert [(node.num_clients, node.num_subs, node.num_channels) for node in nodes] == [(1, 1, 1)] * len(urls), nodes
    assert len({node.uid for node in nodes}) == len(urls) and all(node.version and node.name for node in nodes)

    for client in clients:
        mine, told = client.connected[0].client, []

        async def on_subscribed(context: Any) -> None:
            told.append(context)
            stage.note()

        client.sdk.events.on_subscribed = on_subscribed
        request = cent.SubscribeRequest(user="", client=mine, channel="given", data={"n": 1}, info={"as": "guest"})
        await call(lambda it: it.subscribe(request))
        await stage.until("the client is told that it is in the room", lambda: len(told) == 1)
        assert (told[0].channel, told[0].data) == ("given", {"n": 1}), told
        present = (await call(lambda it: it.presence(cent.PresenceRequest(channel="given")))).presence
        assert present[mine].chan_info == {"as": "guest"}, present
    numbers = await call(lambda it: it.presence_stats(cent.PresenceStatsRequest(channel="given")))
    assert (numbers.num_clients, numbers.num_users) == (len(urls), 1), numbers
    for client in clients:
        mine = client.connected[0].client
        await call(lambda it: it.unsubscribe(cent.UnsubscribeRequest(user="", client=mine, channel="given")))

    for client, room in zip(clients, rooms):
        mine = client.connected[0].client
        await call(lambda it: it.unsubscribe(cent.UnsubscribeRequest(user="", client=mine, channel="live")))
        await stage.until("the client is told that it left", lambda: len(room.unsubscribed) == 1)
        assert room.unsubscribed[0].code == 2000, room.unsubscribed
        await call(lambda it: it.refresh(cent.RefreshRequest(user="", client=mine, expire_at=4_000_000_000)))
        reason = cent.Disconnect(code=4500, reason="enough")
        await call(lambda it: it.disconnect(cent.DisconnectRequest(user="", client=mine, disconnect=reason)))
        await stage.until("the client is disconnected for good", lambda: len(client.disconnected) == 1)
        assert (client.disconnected[0].code, client.disconnected[0].reason) == (4500, "enough")
    await stage.leave()


async def main(key: str, urls: list[str]) -> None:
    clients_urls, api_urls = urls[0::2], urls[1::2]
    asks_with_a_wrong_key(api_urls[0])
    apis = cycle([cent.Client(url, key) for url in api_urls])
    # Whatever node is asked, the answer is that of all.
    await asyncio.get_running_loop().run_in_executor(None, publishes, lambda: next(apis))
    await reaches_sessions(lambda: next(apis), clients_urls)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
