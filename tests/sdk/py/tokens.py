"""Who a client is: tokens, fetched and refreshed by the SDK, and what becomes of those without."""

from collections.abc import Callable
from typing import Any

from proxy import Proxy
from stage import Client, Stage, publish
from token_maker import in_seconds, token

_QUICK = {"max_reconnect_delay": 0.5}


class _Tokens:
    """Hands out the claims one after the other, the last again and again, and counts."""

    def __init__(self, stage: Stage, *claims: Callable[[], dict[str, Any]]) -> None:
        self._stage = stage
        self._claims = claims
        self.asked = 0

    async def __call__(self, *_: Any) -> str:
        claims = self._claims[min(self.asked, len(self._claims) - 1)]
        self.asked += 1
        self._stage.note("a token was asked for")
        return token(**claims())


async def _ended(stage: Stage, client: Client, code: int) -> None:
    await stage.until(f"{client.name} has ended", lambda: len(client.disconnected) == 1)
    assert (client.disconnected[0].code, bool(client.disconnected[0].reason)) == (code, True), client.disconnected


async def a_token_names_its_user(stage: Stage) -> None:
    ann = await stage.connected("ann", token=token(sub="ann", info={"name": "Ann"}))
    bob = await stage.connected("bob", url=stage.at(1), get_token=_Tokens(stage, lambda: {"sub": "bob"}))
    pass_ = token(sub="ann", channel="closed:room", info={"role": "guest"})
    room = await ann.join("closed:room", token=pass_)
    reading = await bob.join("closed:room", get_token=_Tokens(stage, lambda: {"sub": "bob", "channel": "closed:room"}))
    await publish(room, ["hello"])
    await reading.got(["hello"])
    info = reading.publications[0].info
    assert (info.user, info.conn_info, info.chan_info) == ("ann", {"name": "Ann"}, {"role": "guest"}), info


async def wrong_tokens_end_for_good(stage: Stage) -> None:
    for name, options, code in (
        ("nobody", {}, 101),
        ("eve", {"token": token(sub="ann")[:-8] + "AAAAAAAA"}, 3500),
    ):
        client = stage.client(name, **options)
        await client.sdk.connect()
        await _ended(stage, client, code)
    late = stage.client("late", url=stage.at(2), token=token(sub="ann", exp=in_seconds(-60)))
    await late.sdk.connect()
    await stage.until("late has ended", lambda: len(late.disconnected) == 1)
    ann = await stage.connected("ann", token=token(sub="ann"))
    for channel, options in (
        ("closed:a", {}),
        ("closed:b", {"token": token(sub="bob", channel="closed:b")}),
        ("closed:c", {"token": token(sub="ann", channel="closed:b")}),
        ("dm#bob", {}),
    ):
        room = await ann.enter(channel, **options)
        await stage.until(f"{channel} is refused", lambda: len(room.unsubscribed) == 1)
        assert room.unsubscribed[0].code == 103, channel
    assert len(ann.connecting) == 1, "the connection stayed"


async def an_expired_token_is_replaced(stage: Stage) -> None:
    tokens = _Tokens(stage, lambda: {"sub": "ann", "exp": in_seconds(-60)}, lambda: {"sub": "ann", "exp": in_seconds(600)})
    ann = await stage.connected("ann", url=stage.at(1), get_token=tokens, **_QUICK)
    assert tokens.asked == 2
    room = {"sub": "ann", "channel": "closed:room"}
    passes = _Tokens(stage, lambda: {**room, "exp": in_seconds(-60)}, lambda: room)
    await ann.join("closed:room", get_token=passes)
    assert passes.asked == 2
    assert not ann.disconnected


async def sessions_and_stays_are_refreshed(stage: Stage) -> None:
    tokens = _Tokens(stage, lambda: {"sub": "ann", "exp": in_seconds(2)})
    ann = await stage.connected("ann", get_token=tokens)
    passes = _Tokens(stage, lambda: {"sub": "ann", "channel": "closed:room", "exp": in_seconds(2)})
    room = await ann.join("closed:room", get_token=passes)
    # Longer than the first tokens' time and grace.
    await stage.until("five refreshes of each", lambda: tokens.asked >= 6 and passes.asked >= 6, 30)
    await publish(room, ["still here"])
    await room.got(["still here"])
    assert len(ann.connecting) == 1, "on the same connection"
    assert len(room.subscribed) == 1, "in one stay"


async def a_stale_refresh_is_tried_again(stage: Stage) -> None:
    tokens = _Tokens(stage, *(lambda exp=exp: {"sub": "ann", "exp": in_seconds(exp)} for exp in (1, -60, 600)))
    ann = await stage.connected("ann", get_token=tokens)
    await stage.until("the third token", lambda: tokens.asked == 3, 25)
    room = await ann.join("room")
    await publish(room, ["still here"])
    await room.got(["still here"])
    assert len(ann.connecting) == 1, "on the same connection"


async def who_refreshes_too_late_comes_back(stage: Stage) -> None:
    is_away = False

    async def get_token(*_: Any) -> str:
        if is_away:
            raise RuntimeError("the backend is away")
        return token(sub="ann", exp=in_seconds(2))

    proxy = await Proxy.to(stage.at(1))
    ann = await stage.connected("ann", url=proxy.url, get_token=get_token, **_QUICK)
    room = await ann.join("room")
    is_away = True
    # It comes back to another node, if there is one.
    proxy.lead_to(stage.at(2))
    await stage.until("the session has expired", lambda: len(ann.connecting) == 2)
    assert ann.connecting[1].code == 3005, ann.connecting
    is_away = False
    await ann.is_connected(2)
    await room.is_subscribed(2)
    assert not ann.disconnected


async def a_stay_without_refresh_is_taken_up_again(stage: Stage) -> None:
    ann = await stage.connected("ann", token=token(sub="ann"))
    bob = await stage.connected("bob", url=stage.at(1), token=token(sub="bob"))
    is_away = False

    async def get_token(*_: Any) -> str:
        if is_away:
            raise RuntimeError("the backend is away")
        return token(sub="ann", channel="closed:room", exp=in_seconds(1))

    room = await ann.join("closed:room", get_token=get_token, min_resubscribe_delay=0.1)
    writing = await bob.join("closed:room", token=token(sub="bob", channel="closed:room"))
    is_away = True
    await publish(writing, ["before"])
    await stage.until("the stay has expired", lambda: any(each.code == 2501 for each in room.subscribing))
    await publish(writing, ["meanwhile"])
    is_away = False
    await room.is_subscribed(2)
    await publish(writing, ["after"])
    await room.got(["before", "meanwhile", "after"])
    assert len(ann.connecting) == 1, "the connection stayed"


async def given_rooms_are_joined_and_recovered(stage: Stage) -> None:
    proxy = await Proxy.to(stage.at(1))
    bob = await stage.connected("bob", token=token(sub="bob", channels=["given:news"]))
    ann = stage.client("ann", url=proxy.url, token=token(sub="ann", channels=["given:news", "other"]), **_QUICK)
    got: list[Any] = []
    subscribed: list[Any] = []

    async def on_publication(context: Any) -> None:
        got.append((context.channel, context.pub.data))
        stage.note()

    async def on_subscribed(context: Any) -> None:
        subscribed.append(context)
        stage.note()

    ann.sdk.events.on_publication = on_publication
    ann.sdk.events.on_subscribed = on_subscribed
    await ann.sdk.connect()
    await stage.until("both rooms are joined", lambda: len(subscribed) == 2)
    await bob.sdk.publish("given:news", 1)
    await stage.until("it is told", lambda: len(got) == 1)
    proxy.cut()
    await stage.until("the cut is noticed", lambda: len(ann.connecting) == 2)
    await bob.sdk.publish("given:news", 2)
    proxy.lead_to(stage.at(2))
    proxy.heal()
    await stage.until("both rooms are joined again", lambda: len(subscribed) == 4)
    news = next(each for each in subscribed[2:] if each.channel == "given:news")
    assert (news.was_recovering, news.recovered) == (True, True)
    await bob.sdk.publish("given:news", 3)
    await stage.until("all is told", lambda: len(got) == 3)
    assert got == [("given:news", data) for data in (1, 2, 3)], got
