"""
ccxt (pro), unmodified but for its URLs, against served recordings of Hyperliquid, dYdX v4 and Binance; and a bare WebSocket.

ccxt tells Binance's spot socket from the others by `/stream` in its URL, which the venue's host name has and loopback has not,
so it is put into the query.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.serving.deck import DeckOptions
from replay.serving.server import ServerOptions, TapeServer
from tests.deadlines import HANG_S
from tests.generations import embedded_session
from tests.serving import synthetic_session
from toolkit.clock import NS_PER_S, SystemClock
from toolkit.frames import WS_IN

pytestmark = pytest.mark.slow

DYDX_PAIRS = ("BTC-USD", "ETH-USD")
USDM_PAIRS = ("BTC-USDT", "ETH-USDT")
#: The market, the venue and the symbol behind it, and the capture.
BINANCE = (
    ("BTC/USDT", "binance-spot", "btcusdt", "spot_btcusdt_20240808"),
    ("BTC/USDT:USDT", "binance-usdm", "btcusdt", "usdm_btcusdt_20240808"),
    ("BTC/USD:BTC", "binance-coinm", "btcusd_perp", "coinm_btcusd_perp_20240808"),
)


@asynccontextmanager
async def served(recordings: Sequence[Recording], speed: Fraction | None) -> AsyncIterator[TapeServer]:
    """A server whose tape begins with its first client."""
    options = ServerOptions(start="client", settle_s=0.3)
    async with (
        asyncio.timeout(HANG_S),
        TapeServer(recordings, clock=SystemClock(), deck=DeckOptions(speed=speed), options=options) as server,
    ):
        run = asyncio.get_running_loop().create_task(server.run())
        try:
            yield server
        finally:
            server.stop()
            await run


async def watch(is_all: Callable[[], bool], *watches: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Watch until all has come; a watch that fails fails the test, and what does not come runs into its time limit."""

    async def for_ever(once: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await once()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(for_ever(once)) for once in watches]
        while not is_all():  # noqa: ASYNC110 -- ccxt tells of each thing apart
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()


def said(recording: Recording) -> list[Any]:
    """Every WebSocket message of the venue."""
    frames = [frame for batch in recording.raw_frames() for frame in batch]
    return [json.loads(frame.payload) for frame in frames if frame.kind == WS_IN]


def best(book: Any) -> tuple[list[float], list[float]]:
    return list(book["bids"][0][:2]), list(book["asks"][0][:2])


# Binance ---------------------------------------------------------------------------------------------------------------


def cut(folder: Path, shared_data: Path, venue: str, name: str, seconds: float) -> Recording:
    """The beginning of a real capture."""
    folder.mkdir()
    with gzip.open(shared_data / "binance" / f"{name}.gz") as file:
        lines = file.readlines()
    end = int(lines[0].partition(b" ")[0]) + round(seconds * NS_PER_S)
    (folder / "cut.txt").write_bytes(b"".join(line for line in lines if int(line.partition(b" ")[0]) < end))
    import_capture([folder / "cut.txt"], folder / "tape", ImportOptions(venue=venue, line_format="collector"))
    return Recording.open(folder / "tape")


def pointed(server: TapeServer) -> Any:
    """ccxt's Binance with its URLs at the server."""
    # Its import takes seconds, which every run would pay that collects this file; likewise below.
    import ccxt.pro

    exchange = ccxt.pro.binance()
    urls = exchange.urls["api"]
    rest = {
        "binance-spot": ("public", "/api/v3"),
        "binance-usdm": ("fapiPublic", "/fapi/v1"),
        "binance-coinm": ("dapiPublic", "/dapi/v1"),
    }
    sockets = {
        "binance-spot": ("spot", "/ws?/stream"),
        "binance-usdm": ("linear", "/ws"),
        "binance-coinm": ("inverse", "/ws"),
    }
    for venue in server.deck.venues:
        urls[rest[venue][0]] = server.rest_url_of(venue) + rest[venue][1]
        urls["ws"][sockets[venue][0]] = server.ws_url_of(venue) + sockets[venue][1]
    return exchange


def test_ccxt_follows_real_captures_of_all_three_binance_markets_at_once(tmp_path: Path, shared_data: Path) -> None:
    """Its books, which it joins itself, equal the venue's own best quotes wherever the update ids are equal."""
    tapes = {market: cut(tmp_path / venue, shared_data, venue, name, 12) for market, venue, _, name in BINANCE}
    books: dict[str, dict[int, Any]] = {market: {} for market in tapes}
    trades: dict[str, list[str]] = {market: [] for market in tapes}
    ids: dict[str, list[str]] = {}
    last: dict[str, int] = {}
    for market, _, symbol, _ in BINANCE:
        messages = [each for each in said(tapes[market]) if "stream" in each]
        ids[market] = [str(each["data"]["t"]) for each in messages if each["stream"] == f"{symbol}@trade"]
        last[market] = [each["data"]["u"] for each in messages if each["stream"].startswith(f"{symbol}@depth")][-1]

    def is_all() -> bool:
        return all(len(trades[market]) >= len(ids[market]) and last[market] in books[market] for market in tapes)

    async def main() -> None:
        async with served(list(tapes.values()), Fraction(8)) as server:
            exchange = pointed(server)
            try:
                assert set(await exchange.load_markets()) == set(tapes)

                async def book(market: str) -> None:
                    found = await exchange.watch_order_book(market)
                    books[market][found["nonce"]] = best(found)

                async def trade(market: str) -> None:
                    trades[market] += [each["id"] for each in await exchange.watch_trades(market)]

                def once(function: Any, market: str) -> Any:
                    return lambda: function(market)

                await watch(is_all, *(once(each, market) for market in tapes for each in (book, trade)))
                for market in tapes:
                    assert best(await exchange.fetch_order_book(market, 5)) == books[market][max(books[market])]
                    newest = await exchange.fetch_trades(market, limit=50)
                    assert [each["id"] for each in newest] == trades[market][-50:]
                assert server.deck.tape.first_ns <= await exchange.fetch_time() * 1_000_000 <= server.deck.tape.last_ns
            finally:
                await exchange.close()

    asyncio.run(main())
    assert trades == ids
    for market, _, symbol, _ in BINANCE:
        messages = [each for each in said(tapes[market]) if "stream" in each]
        quotes = {each["data"]["u"]: each["data"] for each in messages if each["stream"] == f"{symbol}@bookTicker"}
        both = quotes.keys() & books[market].keys()
        assert both
        for update_id in both:
            quote = {key: float(quotes[update_id][key]) for key in "bBaA"}
            assert books[market][update_id] == ([quote["b"], quote["B"]], [quote["a"], quote["A"]])


@pytest.fixture(scope="module")
def usdm(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return asyncio.run(embedded_session(tmp_path_factory.mktemp("usdm") / "tape", "binance-usdm", USDM_PAIRS))


def test_ccxt_is_answered_from_a_recording_of_ours(usdm: Recording) -> None:
    """Whole metadata, aggregates instead of trades, mark prices, funding."""
    from ccxt import OperationFailed

    trades: list[str] = []
    books: dict[int, Any] = {}
    ids = [str(each["data"]["a"]) for each in said(usdm) if each.get("stream") == "btcusdt@aggTrade"]
    last = [each["data"]["u"] for each in said(usdm) if each.get("stream") == "btcusdt@depth@100ms"][-1]
    assert ids

    async def main() -> None:
        async with served([usdm], Fraction(2)) as server:
            exchange = pointed(server)
            exchange.options["fetchMarkets"]["types"] = ["linear"]
            try:
                markets = await exchange.load_markets()
                assert len(markets) > len(USDM_PAIRS)

                async def trade() -> None:
                    trades.extend(
                        each["id"] for each in await exchange.watch_trades("BTC/USDT:USDT", params={"name": "aggTrade"})
                    )

                async def book() -> None:
                    found = await exchange.watch_order_book("BTC/USDT:USDT")
                    books[found["nonce"]] = best(found)

                await watch(lambda: len(trades) >= len(ids) and last in books, trade, book)
                assert best(await exchange.fetch_order_book("BTC/USDT:USDT")) == books[last]
                assert [each["id"] for each in await exchange.fetch_trades("BTC/USDT:USDT")][-len(trades) :] == trades
                rate = await exchange.fetch_funding_rate("BTC/USDT:USDT")
                marks = [each["data"] for each in said(usdm) if each.get("stream") == "btcusdt@markPrice@1s"]
                assert (rate["markPrice"], rate["fundingTimestamp"]) == (float(marks[-1]["p"]), marks[-1]["T"])
                with pytest.raises(OperationFailed):
                    await exchange.fetch_ohlcv("BTC/USDT:USDT")
            finally:
                await exchange.close()

    asyncio.run(main())
    assert trades == ids


# dYdX v4 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dydx(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return asyncio.run(embedded_session(tmp_path_factory.mktemp("dydx") / "tape", "dydx_v4", DYDX_PAIRS))


def test_ccxt_follows_dydx(dydx: Recording) -> None:
    books: dict[int, Any] = {}
    trades: list[str] = []
    mine = [each for each in said(dydx) if each.get("id") == "BTC-USD"]
    ids = [row["id"] for each in mine if each["channel"] == "v4_trades" for row in each["contents"]["trades"]]
    # Each subscribe and each frame after it has a number of the connection.
    last = 1 + max(number for number, each in enumerate(mine) if each["channel"] == "v4_orderbook")

    async def main() -> None:
        async with served([dydx], Fraction(2)) as server:
            import ccxt.pro

            exchange = ccxt.pro.dydx()
            exchange.urls["api"]["indexer"] = server.rest_url_of("dydx_v4")
            exchange.urls["api"]["ws"] = server.ws_url_of("dydx_v4")
            try:
                assert "BTC/USDC:USDC" in await exchange.load_markets()

                async def book() -> None:
                    found = await exchange.watch_order_book("BTC/USDC:USDC")
                    books[found["nonce"]] = best(found)

                async def trade() -> None:
                    trades.extend(each["id"] for each in await exchange.watch_trades("BTC/USDC:USDC"))

                await watch(lambda: len(trades) >= len(ids) and last in books, book, trade)
                assert best(await exchange.fetch_order_book("BTC/USDC:USDC")) == books[last]
                fetched = [each["id"] for each in await exchange.fetch_trades("BTC/USDC:USDC")]
                assert set(fetched) == set(trades)
                rates = await exchange.fetch_funding_rate_history("BTC/USDC:USDC")
                assert len(rates) > 1
            finally:
                await exchange.close()

    asyncio.run(main())
    # History comes newest first and is told in the order of time.
    assert sorted(trades) == sorted(ids)
    assert len(trades) == len(set(trades))


# Hyperliquid -----------------------------------------------------------------------------------------------------------


def test_ccxt_follows_hyperliquid(tmp_path: Path) -> None:
    recording, user = synthetic_session(tmp_path / "tape", seconds=12)
    market = "BTC/USDC:USDC"
    books: list[Any] = []
    trades: list[str] = []
    fills: list[str] = []
    of_coin = [each for each in said(recording) if each["channel"] in ("l2Book", "trades")]
    full = [each["data"] for each in of_coin if each["channel"] == "l2Book" and each["data"]["coin"] == "BTC"]
    told = {
        str(row["tid"])
        for each in of_coin
        if each["channel"] == "trades"
        for row in each["data"]
        if row["coin"] == "BTC"
    }
    done = {
        str(row["tid"]) for each in said(recording) if each["channel"] == "userFills" for row in each["data"]["fills"]
    }

    def is_all() -> bool:
        return set(trades) >= told and set(fills) >= done and bool(books) and books[-1][0] == full[-1]["time"]

    async def main() -> None:
        async with served([recording], Fraction(8)) as server:
            import ccxt.pro

            exchange = ccxt.pro.hyperliquid()
            url = server.rest_url_of("hyperliquid")
            exchange.urls["api"] |= {"public": url, "private": url}
            exchange.urls["api"]["ws"]["public"] = server.ws_url_of("hyperliquid")
            account = {"user": user}
            try:
                assert market in await exchange.load_markets()

                async def book() -> None:
                    found = await exchange.watch_order_book(market)
                    books.append((found["timestamp"], best(found)))

                async def trade() -> None:
                    trades.extend(each["id"] for each in await exchange.watch_trades(market))

                async def fill() -> None:
                    fills.extend(each["id"] for each in await exchange.watch_my_trades(params=account))

                await watch(is_all, book, trade, fill)
                assert best(await exchange.fetch_order_book(market))[0][0] > 0
                assert await exchange.fetch_open_orders(params=account)
                known = await exchange.fetch_my_trades(params=account)
                assert {each["id"] for each in known} == set(fills)
            finally:
                await exchange.close()

    asyncio.run(main())
    expected = {
        each["time"]: tuple([float(side[0]["px"]), float(side[0]["sz"])] for side in each["levels"]) for each in full
    }
    assert len(books) > 1
    assert all(expected[time] == quote for time, quote in books)
    assert set(trades) == told


# A bare WebSocket ------------------------------------------------------------------------------------------------------


def test_a_bare_websocket_hears_every_byte_of_binance(usdm: Recording) -> None:
    """On both routes, combined and by URL."""
    frames = [frame.payload for batch in usdm.raw_frames() for frame in batch if frame.kind == WS_IN]
    depth = [each for each in frames if each.startswith(b'{"stream":"btcusdt@depth')]
    marks = [each for each in frames if each.startswith(b'{"stream":"ethusdt@markPrice')]
    assert depth
    assert marks

    async def main() -> None:
        async with served([usdm], None) as server:
            base = server.ws_url_of("binance-usdm")
            public, market = f"{base}/public/stream?streams=btcusdt@depth@100ms", f"{base}/market/ws"
            async with connect(public) as combined, connect(market) as raw:
                await raw.send('{"method":"SUBSCRIBE","params":["ethusdt@markPrice@1s"],"id":"a"}')
                assert await raw.recv() == '{"result":null,"id":"a"}'
                assert [await combined.recv(decode=False) for _ in depth] == depth
                heard = [await raw.recv(decode=False) for _ in marks]
                assert [b'{"stream":"ethusdt@markPrice@1s","data":%b}' % each for each in heard] == marks

    asyncio.run(main())


def test_a_bare_websocket_hears_every_byte_of_dydx_but_its_own_numbers(dydx: Recording) -> None:
    frames = [frame.payload for batch in dydx.raw_frames() for frame in batch if frame.kind == WS_IN]
    wanted = [each for each in frames if b'"channel":"v4_orderbook"' in each and b'"id":"ETH-USD"' in each]
    assert len(wanted) > 2

    async def main() -> None:
        async with served([dydx], None) as server, connect(server.ws_url_of("dydx_v4")) as client:
            greeting = json.loads(await client.recv())
            await client.send('{"type":"subscribe","channel":"v4_orderbook","id":"ETH-USD"}')
            for number, payload in enumerate(wanted, 1):
                theirs = json.loads(payload)
                old = b'"connection_id":"%b","message_id":%d' % (theirs["connection_id"].encode(), theirs["message_id"])
                new = b'"connection_id":"%b","message_id":%d' % (greeting["connection_id"].encode(), number)
                assert await client.recv(decode=False) == payload.replace(old, new, 1)

    asyncio.run(main())
