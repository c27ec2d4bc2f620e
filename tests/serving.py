"""A server of recordings in a thread of its own, for clients that block; and tapes of a synthetic session to serve."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from recordings.recording import Recording
from replay.serving.deck import DeckOptions
from replay.serving.server import ServerOptions, TapeServer
from replay.serving.venues.hyperliquid.synthetic.venue import SyntheticHyperliquid, VenueOptions
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.traders import AccountsOptions
from tests.deadlines import HANG_S
from tests.frame_tapes import Script
from toolkit.clock import NS_PER_S, SystemClock
from toolkit.transport.json_request import ask_json

R = TypeVar("R")
#: Coins of the synthetic session, and the streams of each.
COINS = ("BTC", "ETH")
COIN_STREAMS: tuple[dict[str, Any], ...] = (
    {"type": "l2Book"},
    {"type": "trades"},
    {"type": "bbo"},
    {"type": "activeAssetCtx"},
)
USER_STREAMS = (
    "orderUpdates",
    "userEvents",
    "userFills",
    "userFundings",
    "userNonFundingLedgerUpdates",
    "allDexsClearinghouseState",
    "spotState",
    "openOrders",
)


def taker(venue: SyntheticHyperliquid) -> str:
    return next(each.address for each in venue.exchange.accounts.values() if each.name == "taker")


def synthetic_session(
    folder: Path, *, seconds: int = 20, seed: int = 7, later_s: int = 0, as_recorder: bool = False
) -> tuple[Recording, str]:
    """
    A recorded session of the synthetic venue, made without sockets and in no time, and the account in it.

    It has the listing, funding of a day, streams of two coins and of an account; and all mids, or (`as_recorder`) only what
    our own recorder asks for, on connections as it makes them. It begins `later_s` after the usual time.
    """
    options_of_market = MarketOptions(seed=seed)
    genesis_ns = options_of_market.genesis_ns + later_s * 10**9
    market = Market(replace(options_of_market, genesis_ns=genesis_ns))
    options = VenueOptions(users_max=15)
    venue = SyntheticHyperliquid(market, options, AccountsOptions(liquidation_block=10**9))
    now = market.block_time_ns(300)
    venue.advance(now)
    user = taker(venue)
    script = Script(now=now)
    script.control("session_start", -1)

    def rest(tag: str, **question: Any) -> None:
        answer = venue.info.handle(msgspec.json.encode(question), "application/json")
        script.rest(tag, "/info", question, msgspec.Raw(answer.body))

    rest("spotMeta", type="spotMeta")
    rest("meta", type="meta")
    rest(f"userRole:{user}", type="userRole", user=user)
    for coin in COINS:
        rest(f"fundingHistory:{coin}", type="fundingHistory", coin=coin, startTime=now // 10**6 - 86_400_000)
    coin_streams = [[{**stream, "coin": coin} for stream in COIN_STREAMS for coin in COINS]]
    if as_recorder:
        coin_streams = [coin_streams[0][: len(COINS)], coin_streams[0][len(COINS) :]]
        rest(f"frontendOpenOrders:{user}:", type="frontendOpenOrders", user=user)
        rest(f"historicalOrders:{user}:", type="historicalOrders", user=user)
    else:
        coin_streams[0].append({"type": "allMids"})
    wanted = [*coin_streams, [{"type": kind, "user": user} for kind in USER_STREAMS]]
    roles = [*(("depth", "main") if as_recorder else ("main",)), "user-0"]
    sessions = []
    for conn_id, subscriptions in enumerate(wanted):
        script.control("connected", conn_id, role=roles[conn_id], url="")
        session = venue.connect("127.0.0.1", now)
        assert session is not None
        sessions.append(session)
        for subscription in subscriptions:
            request = {"method": "subscribe", "subscription": subscription}
            script.sent(request, conn_id)
            session.receive(msgspec.json.encode(request).decode(), now)
            for text in session.take():
                script.said(text.encode(), conn_id)
    end = now + seconds * NS_PER_S
    while now < end:
        now = market.block_time_ns(market.number + 1)
        venue.advance(now)
        script.now = max(script.now, now)
        for conn_id, session in enumerate(sessions):
            for text in session.take():
                script.said(text.encode(), conn_id)
    for conn_id, role in enumerate(roles):
        script.control("disconnected", conn_id, role=role, code=1000, reason="", error="", cause="stop")
    script.control("session_end", -1, cause="stop")
    pairs = tuple(f"{coin}-USD" for coin in COINS)
    return script.recording(folder, accounts=(user,), pairs=pairs), user


class Served:
    """A server that runs in another thread."""

    def __init__(self, server: TapeServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop

    @property
    def url(self) -> str:
        return self.server.url

    def call(self, function: Callable[[], R]) -> R:
        """Run something on the server's loop."""

        async def run() -> R:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(HANG_S)

    def control(self, name: str, **details: Any) -> dict[str, Any]:
        """What `tickdeck ctl` does."""
        status, answer = asyncio.run(
            ask_json(
                "GET" if name == "status" else "POST",
                f"{self.url}/tickdeck/{name}",
                msgspec.json.encode(details) if name != "status" else b"",
                timeout_s=30,
            )
        )
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def until(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for the status until it is so."""
        while not is_so(status := self.control("status")):
            pass
        return status

    def play_to_the_end(self) -> None:
        """Let a waiting tape go."""
        self.control("resume")
        self.until(lambda status: status["state"] == "ended")


@contextmanager
def serving(
    recordings: Recording | Sequence[Recording], *, deck: DeckOptions | None = None, **options: Any
) -> Iterator[Served]:
    """Serve recordings, as fast as clients read and when told to, unless asked otherwise."""
    given = [recordings] if isinstance(recordings, Recording) else list(recordings)
    options.setdefault("start", "told")
    ready = threading.Event()
    found: list[Served] = []
    failed: list[BaseException] = []

    async def main() -> None:
        server = TapeServer(
            given, clock=SystemClock(), deck=deck or DeckOptions(speed=None), options=ServerOptions(**options)
        )
        async with server:
            found.append(Served(server, asyncio.get_running_loop()))
            ready.set()
            await server.run()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as exc:  # noqa: BLE001 -- told to the test, which is in another thread
            failed.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="server")
    thread.start()
    ready.wait(HANG_S)
    try:
        if not found:
            raise failed[0]
        yield found[0]
    finally:
        if found and thread.is_alive():
            found[0].call(found[0].server.stop)
        thread.join(HANG_S)
    if failed:
        raise failed[0]
