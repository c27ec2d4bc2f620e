"""The embedded venue as dYdX v4 and as Binance USD-M: over real sockets, and through the live code into a recording."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from recordings.care.verifying import verify
from recordings.format.manifest import Manifest
from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from replay.embedded import EmbeddedVenue
from replay.serving.registry import synthetic_venues
from replay.serving.synthetic_venue import Drop, Pings
from replay.serving.venues.dydx_v4.synthetic.venue import DydxOptions, SyntheticDydx
from replay.serving.venues.hyperliquid.synthetic.venue import VenueOptions
from replay.synthetic.market import MarketOptions
from tests.deadlines import HANG_S
from toolkit.clock import NS_PER_MS, NS_PER_S, SystemClock
from toolkit.errors import ConfigError
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

ROOT = Path(__file__).resolve().parents[2]
PAIRS = {"dydx_v4": ("BTC-USD", "ETH-USD"), "binance-usdm": ("BTC-USDT", "1000PEPE-USDT")}
SUBSCRIBE = {
    "dydx_v4": ("", '{"type":"subscribe","channel":"v4_block_height"}'),
    "binance-usdm": ("/public/stream", '{"method":"SUBSCRIBE","params":["btcusdt@depth@0ms"],"id":1}'),
}


def run(test: Callable[[EmbeddedVenue], Coroutine[Any, Any, None]], venue: str, **options: Any) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(HANG_S),
            EmbeddedVenue(venue=venue, seed=7, clock=SystemClock(), **options) as embedded,
        ):
            await test(embedded)

    asyncio.run(main())


async def get(url: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return await response.json()


@pytest.mark.parametrize("venue", PAIRS)
def test_a_client_reaches_a_venue_by_its_urls_alone(venue: str) -> None:
    async def test(embedded: EmbeddedVenue) -> None:
        path, text = SUBSCRIBE[venue]
        async with connect(embedded.ws_url + path) as client:
            await client.send(text)
            for _ in range(4):
                json.loads(await client.recv())
        if venue == "dydx_v4":
            assert "BTC-USD" in (await get(f"{embedded.rest_url}/perpetualMarkets"))["markets"]
            assert embedded.ws_url.endswith("/v4/ws")
        else:
            assert len((await get(f"{embedded.rest_url}/fapi/v1/depth?symbol=BTCUSDT&limit=5"))["bids"]) == 5

    run(test, venue)


def test_who_does_not_answer_pings_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose reading stands still does not answer them."""
    monkeypatch.setattr(SyntheticDydx, "pings", Pings(0.2, 0.1, Drop(1011, "Heartbeat timeout")))

    async def test(embedded: EmbeddedVenue) -> None:
        url = embedded.ws_url
        async with aiohttp.ClientSession() as http, http.ws_connect(url, autoping=False) as deaf:
            while (message := await deaf.receive()).type is not aiohttp.WSMsgType.CLOSE:
                assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING)
            assert (message.data, message.extra) == (1011, "Heartbeat timeout")

    run(test, "dydx_v4")


def test_who_answers_pings_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late: how fast this machine is today is no question here."""
    monkeypatch.setattr(SyntheticDydx, "pings", Pings(0.02, HANG_S, Drop(1011, "Heartbeat timeout")))

    async def test(embedded: EmbeddedVenue) -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(embedded.ws_url, autoping=False) as client:
            for _ in range(3):
                while (message := await client.receive()).type is not aiohttp.WSMsgType.PING:
                    assert message.type is aiohttp.WSMsgType.TEXT
                await client.pong(message.data)
            await client.ping(b"and you?")
            while (message := await client.receive()).type is not aiohttp.WSMsgType.PONG:
                assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING)
            assert message.data == b"and you?"

    run(test, "dydx_v4")


def test_a_client_that_says_too_much_is_closed_with_the_venues_code() -> None:
    async def test(embedded: EmbeddedVenue) -> None:
        async with connect(embedded.ws_url) as client:
            for _ in range(3):
                await client.send("{")
            await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1008, '{"message":"Rate limited"}')

    run(test, "dydx_v4")


def test_options_of_another_venue_are_refused() -> None:
    async def main() -> None:
        for venue in PAIRS:
            with pytest.raises(ConfigError):
                async with EmbeddedVenue(venue=venue, clock=SystemClock(), options=VenueOptions()):
                    pass
        with pytest.raises(ConfigError, match=r"^no synthetic venue 'nope', expected one of binance-coinm, "):
            async with EmbeddedVenue(venue="nope", clock=SystemClock()):
                pass

    asyncio.run(main())


@pytest.mark.parametrize("venue", synthetic_venues())
def test_each_venue_runs_as_a_process(venue: str) -> None:
    command = [sys.executable, "-m", "replay.embedded", "--venue", venue, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        assert facts.keys() == {"ws_url", "rest_url", "accounts"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0


# Recordings ------------------------------------------------------------------------------------------------------------


async def record(folder: Path, venue: str, faults: Callable[[EmbeddedVenue], Coroutine[Any, Any, None]]) -> Manifest:
    """Record with the live code while the faults happen."""
    clock = SystemClock()
    options = DydxOptions(leaves_hole=True) if venue == "dydx_v4" else None
    market = MarketOptions(block_ns=20 * NS_PER_MS)
    async with EmbeddedVenue(venue=venue, seed=5, clock=clock, market=market, options=options) as embedded:
        request = VenueRequest(
            spec=find_venue(venue),
            options=ProtocolOptions(pairs=PAIRS[venue]),
            ws_url=embedded.ws_url,
            rest_url=embedded.rest_url,
        )
        recorder = Recorder(options=RecorderOptions(folder=folder, venues=(request,)), clock=clock)
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(recorder.run())
            await faults(embedded)
            recorder.stop()
        return running.result()


def assert_is_sound(folder: Path) -> None:
    result = verify(folder)
    assert result.problems == []
    assert result.live_digest == result.raw_digest == result.normalized_digest


def test_a_recording_of_binance_equals_its_replays(tmp_path: Path) -> None:
    """Through a lost diff, which is one gap, and a dropped connection."""

    async def faults(embedded: EmbeddedVenue) -> None:
        await asyncio.sleep(1.5)
        embedded.lose_frames("btcusdt@depth@100ms")
        await asyncio.sleep(1)
        embedded.drop_connections()
        await asyncio.sleep(2)

    asyncio.run(record(tmp_path / "tape", "binance-usdm", faults))
    assert_is_sound(tmp_path / "tape")
    events = [(row["kind"], row["symbol"]) for row in rows(tmp_path / "tape", "events") if row["cause"] == "sequence"]
    assert events == [("stale", "BTCUSDT"), ("gap", "BTCUSDT")]
    assert rows(tmp_path / "tape", "bbo")
    assert rows(tmp_path / "tape", "trades")
    assert rows(tmp_path / "tape", "funding")


def test_a_recording_of_dydx_equals_its_replays(tmp_path: Path) -> None:
    """Through the hole after snapshots, levels that cross, and a dropped connection."""

    async def faults(embedded: EmbeddedVenue) -> None:
        assert isinstance(embedded.venue, SyntheticDydx)
        embedded.venue.hold_removals("BTC-USD", NS_PER_S)
        await asyncio.sleep(3)
        embedded.drop_connections()
        await asyncio.sleep(3)

    asyncio.run(record(tmp_path / "tape", "dydx_v4", faults))
    assert_is_sound(tmp_path / "tape")
    assert rows(tmp_path / "tape", "trades")
    assert rows(tmp_path / "tape", "funding")
    assert len(rows(tmp_path / "tape", "book")) > 100
    assert not [row for row in rows(tmp_path / "tape", "events") if row["cause"] == "sequence"]


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    """Every row of a table of a recording."""
    import polars as pl

    return pl.read_parquet(folder / table / "*.parquet").to_dicts()
