"""One pair on several venues through the Python interfaces: distinguished by key, and never taken for one another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from replay.follow import FollowDataSource
from replay.recorded_source import RecordedDataSource
from replay.seeking import books_of
from replay.source import FIDELITIES, Fidelity, ReplayDataSource
from tests.tapes import SECOND, TS, state_of
from tests.venue_tapes import KEYS, tape_of_venues
from toolkit.books.orderbook import OrderBook
from toolkit.connector import PerpetualDerivativeBase
from toolkit.errors import SymbolError
from toolkit.keys import PairKey
from toolkit.messages import Message

BTC = [PairKey(*key) for key in KEYS if key[1] == "BTC-USD"]
AMBIGUOUS = r"^BTC-USD is a pair of binance-coinm, dydx_v4, hyperliquid: say which venue$"
MIDS = {"binance-coinm": 100.15, "dydx_v4": 200.75, "hyperliquid": 101.5}

Make = Callable[[Path], RecordedDataSource]
SOURCES: dict[str, Make] = {
    **{fidelity: lambda path, fidelity=fidelity: ReplayDataSource(path, fidelity=fidelity) for fidelity in FIDELITIES},  # type: ignore[misc]
    "follow": FollowDataSource,
}


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return tape_of_venues(tmp_path_factory.mktemp("venues") / "tape")


def played(source: RecordedDataSource, act: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with source:
            await source.wait()
            await act()

    asyncio.run(run())


@pytest.mark.parametrize("name", SOURCES)
def test_a_name_is_ambiguous_from_the_first_message_on(tape: Recording, name: str) -> None:
    """Whichever venue speaks first: a program does not work until the second one comes, and fail then."""
    source = SOURCES[name](tape.path)
    errors: list[str] = []

    def on_message(_: Message) -> None:
        with pytest.raises(SymbolError, match=AMBIGUOUS) as raised:
            source.tracker.book("BTC-USD")
        errors.append(str(raised.value))

    source.set_message_callback(on_message)

    async def nothing() -> None:
        assert len(errors) == 118

    played(source, nothing)


@pytest.mark.parametrize("name", SOURCES)
def test_snapshots_and_funding_are_asked_for_by_venue_or_key(tape: Recording, name: str) -> None:
    source = SOURCES[name](tape.path)

    async def act() -> None:
        for key in BTC:
            for book in (await source.get_snapshot(key), await source.market.get_snapshot(key[1], venue=key[0])):
                assert (book.key, book.mid_price) == (key, MIDS[key.venue])
        own = await source.get_funding_info(BTC[2])
        assert own == await source.market.get_funding_info("BTC-USD", venue="hyperliquid")
        assert (own.key, own.mark_price) == (BTC[2], 101.0)
        for ask in (source.get_snapshot, source.get_funding_info, source.market.get_snapshot):
            with pytest.raises(SymbolError, match=AMBIGUOUS):
                await ask("BTC-USD")
        with pytest.raises(SymbolError, match=r"^no funding of 'BTC-USD' in the recording so far$"):
            await source.get_funding_info("BTC-USD", venue="dydx_v4")
        # A name that one venue has needs no more.
        assert (await source.get_snapshot("ETH-USD")).key == KEYS[5]

    played(source, act)


def test_of_one_venue_a_name_is_enough(tape: Recording) -> None:
    source = ReplayDataSource(tape, venues="dydx_v4")
    source.play()
    assert source.tracker.book("BTC-USD").mid_price == MIDS["dydx_v4"]


def test_a_connector_takes_keys(tape: Recording) -> None:
    source = ReplayDataSource(tape)
    connector = PerpetualDerivativeBase(source.market, source.user_stream)
    connector.attach()
    source.play()
    assert (connector.keys, connector.trading_pairs) == (
        [PairKey(*key) for key in KEYS],
        sorted(pair for _, pair in KEYS),
    )
    assert {key.venue: connector.order_book(key).mid_price for key in BTC} == MIDS
    assert connector.order_book("BTC-USD", venue="dydx_v4").mid_price == MIDS["dydx_v4"]
    assert connector.funding_info(BTC[2]) == connector.funding_info("BTC-USD", venue="hyperliquid") is not None
    asks: list[Callable[[str], Any]] = [connector.order_book, connector.funding_info]
    for ask in asks:
        with pytest.raises(SymbolError, match=AMBIGUOUS):
            ask("BTC-USD")


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("at_ns", [None, TS + SECOND // 4, TS + SECOND + SECOND // 20])
def test_two_recordings_of_a_pair_are_replayed_together(tmp_path: Path, fidelity: Fidelity, at_ns: int | None) -> None:
    """The books of both are those that each has alone, from the beginning and from a time within the second one."""
    tapes = [
        tape_of_venues(tmp_path / "first", ("hyperliquid",), rounds=8),
        tape_of_venues(tmp_path / "second", ("dydx_v4",), start_ns=TS + SECOND),
    ]

    def books(source: ReplayDataSource) -> dict[PairKey, Any]:
        if at_ns is not None:
            source.player.seek(at_ns)
        else:
            source.play()
        return {key: state_of(source.tracker.book(key)) for key in source.tracker.keys}

    both = ReplayDataSource(tapes, fidelity=fidelity)
    found = books(both)
    expected: dict[PairKey, Any] = {}
    for each in tapes:
        if at_ns is None or at_ns <= each.manifest.segments[0].ts_recv_last:
            if at_ns is None or at_ns > each.manifest.segments[0].ts_recv_first:
                expected |= books(ReplayDataSource(each, fidelity=fidelity))
        else:
            source = ReplayDataSource(each, fidelity=fidelity)
            source.play()
            expected |= {key: state_of(source.tracker.book(key)) for key in source.tracker.keys}
    assert found == expected
    with pytest.raises(SymbolError, match=r"^BTC-USD is a pair of dydx_v4, hyperliquid: say which venue$"):
        both.tracker.book("BTC-USD")


def test_a_state_is_cut_to_the_venues_that_are_kept(tape: Recording) -> None:
    """What a seek restores of a pair is that of its own venue."""
    source = ReplayDataSource(tape)
    source.play()
    state = books_of(source.tracker.export(), {BTC[1], KEYS[1]})
    assert [(each.venue, each.trading_pair) for each in state.pairs] == [KEYS[1], BTC[1]]
    assert (state.funding, state.instruments) == ([], [])


def test_a_book_that_was_handed_out_says_whose_it_is(tape: Recording) -> None:
    """Each form of it, too."""
    source = ReplayDataSource(tape)
    source.play()
    tracker = source.tracker
    for key in tracker.keys:
        books: list[OrderBook] = [tracker.book(key), *(tracker.book(key, form) for form in tracker.fused_forms(key[1], key[0]))]  # fmt: skip
        assert {book.key for book in books} == {key}
