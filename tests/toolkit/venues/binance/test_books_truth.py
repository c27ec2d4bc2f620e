"""Real captures hold the truth about themselves: a quote of the same update id is the top of the right book."""

from __future__ import annotations

import gzip
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest

from recordings.importing.capture_files import CaptureFile
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from recordings.states.normalizer import Normalizer
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.frames import WS_IN, Frame
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, EventKind, Message, StreamEvent
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

#: Lines of a capture that are enough for thousands of books and hundreds of quotes of their updates.
BEGIN = 12_000
Top = tuple[float | None, float | None, float | None, float | None]

CAPTURES = {
    "usdm": ("binance-usdm", ["usdm_btcusdt_20240808.gz"]),
    "coinm": ("binance-coinm", ["coinm_btcusd_perp_20240808.gz", "coinm_btcusd_perp_20240809.gz"]),
    "spot": ("binance-spot", ["spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"]),
}


@dataclass
class Truth:
    """What was found on the way through a capture."""

    books: dict[int, Top] = field(default_factory=dict)
    quotes: dict[int, Top] = field(default_factory=dict)
    events: list[StreamEvent] = field(default_factory=list)
    crossed: int = 0
    stale_at: list[bool] = field(default_factory=list)
    diff_count: int = 0
    unjoined_count: int = 0

    def take(self, message: Message, book: OrderBook | None) -> None:
        if isinstance(message, BestQuote) and message.update_id is not None:
            # Several quotes may share an id: the last is what the update left.
            self.quotes[message.update_id] = (
                message.bid_price,
                message.bid_size,
                message.ask_price,
                message.ask_size,
            )
        elif isinstance(message, StreamEvent):
            self.events.append(message)
        elif isinstance(message, BookDiff) and not message.fused:
            self.unjoined_count += 1
        elif isinstance(message, BookDiff | BookSnapshot) and book is not None:
            self.diff_count += isinstance(message, BookDiff)
            self.stale_at.append(book.is_stale)
            if book.is_stale or message.last_update_id is None:
                return
            self.crossed += book.is_crossed
            bid, ask = book.best_bid, book.best_ask
            assert bid is not None
            assert ask is not None
            self.books[message.last_update_id] = (bid.price, bid.size, ask.price, ask.size)

    def compare(self) -> tuple[int, int]:
        """How many update ids have both a book and a quote, and on how many of them both are equal."""
        common = self.books.keys() & self.quotes.keys()
        return len(common), sum(self.books[number] == self.quotes[number] for number in common)


def lines(folder: Path, names: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
    """Connection, receive time and payload of every line."""
    for number, name in enumerate(names):
        path = folder / "binance" / name
        if not path.is_file():
            pytest.skip(f"no capture {path}")
        for line in CaptureFile(path, "collector"):
            assert line.ts_recv is not None
            yield number, line.ts_recv, line.payload


def play(venue: str, rows: Sequence[tuple[int, int, bytes]]) -> Truth:
    protocol = find_venue(venue).make_protocol(ProtocolOptions())
    tracker = OrderBookTracker(checked=True)
    truth = Truth()
    for seq, (conn_id, ts_recv, payload) in enumerate(rows):
        for message in protocol.receive(Frame(seq, ts_recv, ts_recv, venue, conn_id, 0, WS_IN, payload)):
            truth.take(message, tracker.apply(message))
    return truth


@pytest.fixture(scope="module")
def captures(shared_data: Path) -> dict[str, list[tuple[int, int, bytes]]]:
    """The beginning of each capture."""
    return {name: list(islice(lines(shared_data, files), BEGIN)) for name, (_, files) in CAPTURES.items()}


@pytest.fixture(scope="module", params=["begin", pytest.param("whole", marks=pytest.mark.slow)])
def extent(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def truths(extent: str, shared_data: Path) -> dict[str, Truth]:
    """What a capture says of itself, in its first `BEGIN` lines or in all of them."""
    count = BEGIN if extent == "begin" else None
    return {
        name: play(venue, list(islice(lines(shared_data, files), count))) for name, (venue, files) in CAPTURES.items()
    }


#: Update ids with both a book and a quote, per market; and every book with the newest quote that is not newer than it.
EXACT = {
    "begin": {"usdm": 91, "coinm": 282, "spot": 193},
    "whole": {"usdm": 629, "coinm": 1885, "spot": 1072},
}
COVERED = {
    "begin": {"usdm": 898, "coinm": 6773, "spot": 1083},
    "whole": {"usdm": 6548, "coinm": 44773, "spot": 6494},
}
#: Spot sends no quote for a change of the best price that the next change follows at once: seen twice, at these ids.
UNQUOTED = {
    "begin": {"usdm": set[int](), "coinm": set[int](), "spot": set[int]()},
    "whole": {"usdm": set[int](), "coinm": set[int](), "spot": {50093478174, 50093480542}},
}


@pytest.mark.parametrize("name", CAPTURES)
def test_the_top_of_the_book_is_the_quote_of_the_same_update(name: str, extent: str, truths: dict[str, Truth]) -> None:
    assert truths[name].compare() == (EXACT[extent][name], EXACT[extent][name])


@pytest.mark.parametrize("name", CAPTURES)
def test_the_top_of_every_book_is_the_newest_quote_up_to_its_update(
    name: str, extent: str, truths: dict[str, Truth]
) -> None:
    truth = truths[name]
    ids = sorted(truth.quotes)
    newest = {number: bisect_right(ids, number) - 1 for number in truth.books}
    covered = {number: truth.quotes[ids[at]] for number, at in newest.items() if at >= 0}
    assert len(covered) == COVERED[extent][name]
    assert {number for number, quote in covered.items() if truth.books[number] != quote} == UNQUOTED[extent][name]


@pytest.mark.parametrize("name", CAPTURES)
def test_nothing_is_crossed_lost_or_stale(name: str, truths: dict[str, Truth]) -> None:
    truth = truths[name]
    assert (truth.crossed, truth.events, sum(truth.stale_at)) == (0, [], 0)


def depth_rows(rows: Sequence[tuple[int, int, bytes]]) -> list[int]:
    return [at for at, row in enumerate(rows) if b"@depth@" in row[2][:60]]


@pytest.mark.parametrize("name", CAPTURES)
def test_a_removed_frame_is_one_gap_and_no_wrong_price(
    name: str, captures: dict[str, list[tuple[int, int, bytes]]]
) -> None:
    rows = captures[name]
    removed = depth_rows(rows)[len(depth_rows(rows)) // 2]
    truth = play(CAPTURES[name][0], rows[:removed] + rows[removed + 1 :])
    assert [(event.kind, event.stream, event.cause) for event in truth.events] == [
        (EventKind.STALE, "full", "sequence")
    ]
    assert truth.stale_at.count(True) == 0  # what comes after the gap touches the book no more
    assert truth.unjoined_count > 300
    common, equal = truth.compare()
    assert common == equal > 30
    last = json.loads(rows[removed][2])["data"]
    assert max(truth.books) < last["u"]


@pytest.mark.parametrize("name", CAPTURES)
def test_a_later_snapshot_ends_the_gap(name: str, captures: dict[str, list[tuple[int, int, bytes]]]) -> None:
    rows = captures[name]
    venue = CAPTURES[name][0]
    depths = depth_rows(rows)
    removed, snapped = depths[len(depths) // 2], depths[len(depths) // 2 + 50]
    # The snapshot that the venue would have given after that diff, from the book that nothing is missing of.
    complete = find_venue(venue).make_protocol(ProtocolOptions())
    tracker = OrderBookTracker(checked=True)
    text, last_id = b"", 0
    for seq, (conn_id, ts_recv, payload) in enumerate(rows):
        for message in complete.receive(Frame(seq, ts_recv, ts_recv, venue, conn_id, 0, WS_IN, payload)):
            tracker.apply(message)
            if isinstance(message, BookDiff) and message.last_update_id is not None:
                last_id = message.last_update_id
            if seq == snapped and isinstance(message, BookDiff):
                book = tracker.book(message.trading_pair)
                sides = {"bids": book.bids, "asks": book.asks}
                text = json.dumps(
                    {"lastUpdateId": message.last_update_id}
                    | {key: [[str(level.price), str(level.size)] for level in side] for key, side in sides.items()}
                ).encode()
    conn_id, ts_recv, _ = rows[snapped]
    later = snapped + 20  # it arrives late, as answers do
    damaged = [*rows[:removed], *rows[removed + 1 : later], (conn_id, ts_recv, text), *rows[later:]]
    truth = play(venue, damaged)
    assert [(event.kind, event.cause) for event in truth.events] == [
        (EventKind.STALE, "sequence"),
        (EventKind.GAP, "sequence"),
    ]
    assert truth.events[1].ts_start == truth.events[0].ts_start
    common, equal = truth.compare()
    assert common == equal > 30
    assert max(truth.books) == last_id


@pytest.mark.parametrize("name", ["coinm", "spot"])
def test_a_second_file_alone_has_no_book_and_says_so(name: str, shared_data: Path) -> None:
    venue, files = CAPTURES[name]
    rows = list(islice(lines(shared_data, files[1:]), BEGIN))
    protocol = find_venue(venue).make_protocol(ProtocolOptions())
    tracker = OrderBookTracker(checked=True)
    kept = 0
    events = []
    for seq, (conn_id, ts_recv, payload) in enumerate(rows):
        for message in protocol.receive(Frame(seq, ts_recv, ts_recv, venue, conn_id, 0, WS_IN, payload)):
            tracker.apply(message)
            kept += isinstance(message, BookDiff)
            events += [message] if isinstance(message, StreamEvent) else []
    book = tracker.book(protocol.trading_pair(protocol.symbol("BTC-USD" if name == "coinm" else "BTC-USDT")))
    assert (book.is_stale, book.best_bid) == (True, None)
    assert "snapshot" in book.stale_cause
    assert [(event.kind, event.cause) for event in events] == [(EventKind.STALE, "no_snapshot")]
    assert kept == len(depth_rows(rows))


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_in_two_files_is_one_recording_that_replays_the_same(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    """The second segment begins within the first file, from a checkpoint in the middle of everything."""
    venue, files = CAPTURES[name]
    paths = [shared_data / "binance" / file for file in files]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"no captures {paths}")
    with gzip.open(paths[0]) as content:
        begin = list(islice(content, BEGIN))
    halves = [tmp_path / "first.txt", tmp_path / "second.txt"]
    halves[0].write_bytes(b"".join(begin[: BEGIN // 2]))
    halves[1].write_bytes(b"".join(begin[BEGIN // 2 :]))
    _is_one_recording(venue, halves, tmp_path / "recording", segment_frames=BEGIN // 2 - 1000, segments=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES)
def test_files_across_midnight_are_one_recording_that_replays_the_same(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    venue, files = CAPTURES[name]
    paths = [shared_data / "binance" / file for file in files]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"no captures {paths}")
    _is_one_recording(venue, paths, tmp_path / "recording", segment_frames=70_000, segments=2)


def _is_one_recording(venue: str, paths: list[Path], folder: Path, *, segment_frames: int, segments: int) -> None:
    options = ImportOptions(venue=venue, line_format="collector", segment_frames=segment_frames)
    manifest = import_capture(paths, folder, options)
    assert manifest.counts.get("events", 0) == 0
    assert len(manifest.segments) == segments
    recording = Recording.open(folder)
    raw = Normalizer.for_sources(manifest.sources)
    for frames in recording.raw_frames():
        for frame in frames:
            for message in raw.messages(frame):
                raw.take(message)
    assert raw.chain.hexdigest() == manifest.digest
    normalized = Normalizer({})
    for messages in recording.messages():
        for message in messages:
            normalized.take(message)
    assert normalized.chain.hexdigest() == manifest.digest
