"""Compiled books are those of the tracker: on every venue's recordings, on captures, and on streams that nobody sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.columns.column_batch import Names, of_messages
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.column_tape import ColumnTape
from replay.fast.fused_books import FusedBooks
from replay.tape import Tape
from tests.column_checks import played
from tests.golden.expectations import NEWEST, RECORDINGS
from tests.tapes import diff, quote, snapshot
from toolkit.books.orderbook import Columns
from toolkit.books.tracker import OrderBookTracker
from toolkit.digest import DigestChain
from toolkit.errors import ConfigError
from toolkit.messages import EventKind, Message, StreamEvent


@pytest.fixture(scope="module", autouse=True, params=[False, pytest.param(True, marks=pytest.mark.slow)])
def compiled(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Each test in plain Python, and compiled where it may wait for the compiler."""
    with patch.dict(FusedBooks.__init__.__kwdefaults__, compiled=request.param):
        yield request.param


class SideOfArrays:
    """A side as a digest asks for it."""

    def __init__(self, books: FusedBooks, pair: int, side: int) -> None:
        self._books, self._pair, self._side = books, pair, side

    def __len__(self) -> int:
        return self._books.level_count(self._pair, self._side)

    def columns(self) -> Columns:
        return self._books.columns(self._pair, self._side)

    def head(self) -> tuple[float | None, float | None, int]:
        top = self._books.top(self._pair, self._side)
        return (None, None, 0) if top is None else (top[0], top[1], len(self))


class BookOfArrays:
    def __init__(self, books: FusedBooks, pair: int) -> None:
        self.bids, self.asks = SideOfArrays(books, pair, 0), SideOfArrays(books, pair, 1)
        self.is_stale = books.is_stale(pair)


def digests(tape: Tape) -> tuple[str, str]:
    """Of the messages of a tape with the tracker's books, and with compiled ones."""
    columns = ColumnTape(tape, ahead=False)
    books, tracker = FusedBooks(columns.names), OrderBookTracker(checked=True)
    chains = DigestChain(), DigestChain()
    messages = iter(list(played(tape)))
    for batch in columns.batches():
        books.prepare(batch)
        for place in range(batch.messages):
            message = next(messages)
            book = tracker.apply(message)
            books.take(batch, place, place + 1)
            chains[0].update(message, book)
            other: Any = None if book is None else BookOfArrays(books, int(batch.rows["pair"][place]))
            chains[1].update(message, other)
    return chains[0].hexdigest(), chains[1].hexdigest()


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(path, id=f"{path.parent.name}-{path.name}", marks=[] if path in NEWEST else pytest.mark.slow)
        for path in RECORDINGS
    ],
)
def test_the_digest_of_every_venue_is_the_same(folder: Path) -> None:
    recording = Recording.open(folder)
    ours, fused = digests(Tape([recording]))
    assert fused == ours == recording.manifest.digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "venue", "line_format"),
    [
        ("binance/usdm_btcusdt_20240808.gz", "binance-usdm", "collector"),
        ("binance/spot_btcusdt_20240808.gz", "binance-spot", "collector"),
        ("hyperliquid/archive_20240101_12_l2Book_BTC.lz4", "hyperliquid", "archive"),
        ("hyperliquid/ws_btc_20250126.gz", "hyperliquid", "collector"),
    ],
)
def test_the_digest_of_a_capture_is_the_same(
    tmp_path: Path, shared_data: Path, path: str, venue: str, line_format: Any
) -> None:
    import_capture([shared_data / path], tmp_path / "tape", ImportOptions(venue=venue, line_format=line_format))
    recording = Recording.open(tmp_path / "tape")
    ours, fused = digests(Tape([recording]))
    assert fused == ours == recording.manifest.digest


def in_turns(messages: Iterable[Message], **options: Any) -> FusedBooks:
    """Feed messages to both, one after the other, and compare all that they say."""
    names = Names([("hyperliquid", "A-B")])
    books, tracker = FusedBooks(names, **options), OrderBookTracker(checked=True)
    for message in messages:
        book = tracker.apply(message)
        books.take_all(of_messages([message], names))
        if book is not None:
            assert [books.columns(0, side) for side in (0, 1)] == [book.bids.columns(), book.asks.columns()]
            assert books.is_stale(0) == book.is_stale
            fused = books.order_book(0)
            assert fused.bids.kept_columns() == book.bids.kept_columns()
            assert fused.asks.kept_columns() == book.asks.kept_columns()
            assert (fused.ts_event, fused.ts_recv, fused.is_stale) == (book.ts_event, book.ts_recv, book.is_stale)
    return books


MS = 1_000_000
PRICES = st.sampled_from(
    [1.0, 1.5, 2.0, 2.25, 3.0, 1000.0, 3000.0, 0.001, 1e-9, 0.1 + 0.2, 1 / 3, 1e15, 12345.6789, 5e-324]
)
SIZES = st.sampled_from([0.0, -0.0, 1.0, 2.5, 1 / 3])
COUNTS = st.sampled_from([None, 1, 7])
TIMES = st.one_of(
    st.none(), st.integers(0, 40).map(lambda n: 1000 * MS + n * MS), st.integers(0, 4).map(lambda n: n * 20_000 * MS)
)


@st.composite
def levels(draw: st.DrawFn, is_bid: bool, most: int) -> list[tuple[float, float]]:
    prices = draw(st.lists(PRICES, unique=True, max_size=most))
    return [(price, draw(SIZES)) for price in sorted(prices, reverse=is_bid)]


@st.composite
def book_messages(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(["full", "fast", "rest", "whole", "quote", "quote", "diff", "stale", "apart"]))
    head: dict[str, Any] = {"ts_event": draw(TIMES), "ts_recv": draw(st.integers(0, 9)), "symbol": "A"}
    if kind == "stale":
        stream = draw(st.sampled_from(["full", "fast", "bbo", "trades", "rest"]))
        return StreamEvent(
            "hyperliquid", "A", "A-B", None, 5, 0, 0, kind=EventKind.STALE, stream=stream, cause="disconnect"
        )
    if kind == "quote":
        sides = [draw(st.one_of(st.none(), st.tuples(PRICES, SIZES))) for _ in range(2)]
        quote_counts: dict[str, Any] = {
            f"{side}_count": draw(st.sampled_from([None, -1, 5])) for side in ("bid", "ask")
        }
        return quote(sides[0], sides[1], **quote_counts, **head)
    counted = draw(st.booleans())
    if kind == "diff":
        bids, asks = draw(levels(True, 5)), draw(levels(False, 5))
        numbers: dict[str, Any] = {"bid_counts": (3,) * len(bids), "ask_counts": (3,) * len(asks)} if counted else {}
        return diff(bids, asks, **numbers, **head)
    cap = {"full": 4, "fast": 2, "rest": 4, "whole": None, "apart": 4}[kind]
    bids, asks = draw(levels(True, cap or 6)), draw(levels(False, cap or 6))
    counts: dict[str, Any] = {"bid_counts": (2,) * len(bids), "ask_counts": (3,) * len(asks)} if counted else {}
    form = {"whole": "full", "apart": "agg"}.get(kind, kind)
    return snapshot(bids, asks, form=form, depth_cap=cap, fused=kind != "apart", **counts, **head)


@settings(max_examples=40)
@given(st.lists(book_messages(), max_size=12))
def test_books_of_any_stream_are_the_trackers(messages: list[Message]) -> None:
    """Late messages, stamps that leap, prices a thousandfold apart or of no decimal, sizes of zero, lost forms, counts."""
    in_turns(messages)


def test_many_messages_are_kept_as_the_fusion_keeps_them() -> None:
    """A price that runs one way, a round that ends, and late messages that are put in their place or come too late."""
    messages: list[Message] = [snapshot([(1000.0, 1.0)], [(1001.0, 1.0)], ts_event=0, symbol="A")]
    for number in range(1, 2_400):
        price = 1000.0 - number / 4
        messages.append(quote((price, 1.0), (price + 0.25, 2.0), ts_event=number * MS, symbol="A"))
        if number in (300, 1_900, 2_300):
            late = snapshot(
                [(price - 5, 3.0)], [(price + 9, 3.0)], ts_event=(number // 2) * MS, form="rest", depth_cap=1
            )
            messages.append(late)
    names = Names([("hyperliquid", "A-B")])
    books, tracker = FusedBooks(names), OrderBookTracker(checked=True)
    batch = of_messages(messages, names)
    books.prepare(batch)
    for at in range(0, len(messages), 100):
        books.take(batch, at, min(at + 100, len(messages)))
        for message in messages[at : at + 100]:
            tracker.apply(message)
        book = tracker.book("A-B")
        assert [books.columns(0, side) for side in (0, 1)] == [book.bids.columns(), book.asks.columns()]
    (state,) = tracker.export().pairs
    assert books.late_count(0) == state.fusion.late_count == 1
    assert books.books.pairs[0]["recent"] == len(state.fusion.recent)


def test_the_tick_that_is_known_is_the_step_and_a_finer_price_refines_it() -> None:
    names = Names([("hyperliquid", "A-B")])
    books = FusedBooks(names, {("hyperliquid", "A-B"): Decimal("0.5")})
    books.take_all(of_messages([snapshot([(10.5, 1.0), (10.0, 2.0)], [(11.0, 1.0)])], names))
    assert books.step(0) == Decimal("0.5")
    assert books.columns(0, 0) == ((10.5, 10.0), (1.0, 2.0), ())
    books.take_all(of_messages([diff([(10.25, 4.0)])], names))
    assert books.step(0) == Decimal("0.01")
    assert books.columns(0, 0) == ((10.5, 10.25, 10.0), (1.0, 4.0, 2.0), ())
    books.take_all(of_messages([diff([(1 / 3, 4.0)])], names))
    assert books.step(0) is None
    assert books.columns(0, 0) == ((10.5, 10.25, 10.0, 1 / 3), (1.0, 4.0, 2.0, 4.0), ())


def test_a_book_grows_to_whatever_a_snapshot_holds() -> None:
    """Levels far apart, each in a page of its own, and every one of them back."""
    prices = [float(price) for price in np.arange(1, 3_000) * 64.0]
    books = in_turns([snapshot([(price, 1.0) for price in prices[::-1]], [], depth_cap=None, symbol="A")])
    assert books.level_count(0, 0) == len(prices)


def test_more_forms_than_there_are_bits_are_refused() -> None:
    names = Names([("hyperliquid", "A-B")])
    messages = [snapshot([(1.0, 1.0)], form=f"form{number}", fused=False) for number in range(64)]
    with pytest.raises(ConfigError, match="forms of books in one tape, expected 63 at most"):
        FusedBooks(names).take_all(of_messages(messages, names))


def test_a_message_that_settles_prices_counted_by_their_bits_voids_no_other() -> None:
    """Where no step fits, a price of 2 is as large a number as stood for no bound at all."""
    head: dict[str, Any] = {"symbol": "A", "ts_recv": 0}
    in_turns(
        [
            snapshot([], [(0.1 + 0.2, 0.0), (1.0, 0.0)], depth_cap=4, ts_event=None, **head),
            snapshot([], [], form="fast", depth_cap=2, ts_event=1000 * MS, **head),
            snapshot([], [(1.0, 0.0), (2.0, 0.0)], form="fast", depth_cap=2, ts_event=None, **head),
            snapshot([], [(2.25, 1.0)], depth_cap=4, ts_event=1000 * MS, **head),
        ]
    )
