"""Captures become recordings like any other."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import lz4.frame
import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.care.verifying import verify
from recordings.recording import Recording
from recordings.states.checkpoints import read_checkpoint
from recordings.states.normalizer import Normalizer
from tests.tapes import (
    SECOND,
    TS,
    bbo_frame,
    book_frame,
    collector_line,
    import_files,
    messages_of,
    one,
    seen_in_replay,
    trade,
)
from tests.toolkit.venues.binance_tapes import Tape
from tests.toolkit.venues.hyperliquid_session import REPLIES
from toolkit.errors import ConfigError, ImportFailed
from toolkit.frames import DAMAGED, REST_IN, WS_IN
from toolkit.messages import BestQuote, BookSnapshot, EventKind, Instrument, StreamEvent, Trade

MS = TS // 1_000_000


# -- real captures -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(shared_data: Path) -> Path:
    return shared_data / "hyperliquid" / "archive_20240101_12_l2Book_BTC.lz4"


@pytest.fixture(scope="module")
def archive_hour(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return import_files(tmp_path_factory.mktemp("archive") / "tape", archive, line_format="archive")


def test_the_archive_hour_is_all_there(archive_hour: Recording) -> None:
    manifest = archive_hour.manifest
    assert manifest.counts["book_snapshots"] == 5587
    assert sum(segment.tables["book"].rows for segment in manifest.segments) == 223_480
    assert (manifest.origin, manifest.status, manifest.symbols) == ("import", "sealed", {"hyperliquid/BTC": "BTC-USD"})
    assert verify(archive_hour.path).problems == []


def test_the_archive_hour_is_what_the_file_says(archive: Path, archive_hour: Recording) -> None:
    """Every level of every book, and receive times of nine digits."""
    lines = lz4.frame.decompress(archive.read_bytes()).splitlines()
    books = messages_of(archive_hour)
    assert len(books) == len(lines)
    stamps = set()
    for line, book in zip(lines, books, strict=True):
        entry = msgspec.json.decode(line)
        data = entry["raw"]["data"]
        assert isinstance(book, BookSnapshot)
        seconds, fraction = entry["time"].split(".")
        stamps.add(fraction)
        assert f"{book.ts_recv % SECOND:09d}" == fraction.ljust(9, "0")
        assert seconds == f"2024-01-01T{12 + (book.ts_recv // SECOND - 1704110400) // 3600}:{seconds[14:]}"
        assert book.ts_event == data["time"] * 1_000_000
        for side, prices, sizes, counts in (
            (0, book.bid_prices, book.bid_sizes, book.bid_counts),
            (1, book.ask_prices, book.ask_sizes, book.ask_counts),
        ):
            found = list(zip(prices, sizes, counts, strict=True))
            assert found == [(float(each["px"]), float(each["sz"]), each["n"]) for each in data["levels"][side]]
    assert len(stamps) > 5000


def test_the_outcome_capture_is_all_there(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "hyperliquid" / "outcome_markets_2026"
    names = ("l2book", "bbo", "trades")
    recording = import_files(tmp_path / "tape", *(folder / f"ws_{name}.jsonl" for name in names), line_format="jsonl")
    counts = recording.manifest.counts
    assert (counts["quotes"], counts["book_snapshots"], counts["trades_duplicate"]) == (3000, 3000, 48)
    assert {
        message.form for message in messages_of(recording, tables=("book",)) if isinstance(message, BookSnapshot)
    } == {"fast"}
    trades = [message for message in messages_of(recording, tables=("trades",)) if isinstance(message, Trade)]
    keys = Counter((trade.symbol, trade.ts_event, trade.trade_id) for trade in trades)
    assert sum(count - 1 for count in keys.values()) == 48 == sum(trade.is_duplicate for trade in trades)
    first = {trade.symbol: trade for trade in reversed(trades)}
    assert sorted(first) == ["#7510", "#7511"]
    assert all(each.is_history and not each.is_duplicate for each in first.values())
    assert [(file.name, file.lines, file.damaged_lines) for file in recording.manifest.inputs] == [
        (f"ws_{name}.jsonl", 3000, 0) for name in names
    ]
    received = [frame.ts_recv for batch in recording.raw_frames() for frame in batch]
    assert received == sorted(received)
    assert verify(recording.path).problems == []


@pytest.mark.usefixtures("every_state")
@pytest.mark.parametrize("segment_frames", [1, 7, 20, 54, 55])
def test_however_it_is_cut_into_segments_it_is_the_same(shared_data: Path, tmp_path: Path, segment_frames: int) -> None:
    """Digest, messages and books; and a normalizer that starts from a segment's checkpoint comes to that segment's digest."""
    capture = shared_data / "hyperliquid" / "ws_btc_20250126.gz"
    whole = import_files(tmp_path / "whole", capture)
    cut = import_files(tmp_path / "cut", capture, segment_frames=segment_frames)
    assert len(cut.manifest.segments) == -(-55 // segment_frames)
    assert cut.manifest.digest == whole.manifest.digest
    assert cut.manifest.counts == whole.manifest.counts
    expected = seen_in_replay(whole, "normalized")
    for fidelity in ("raw", "normalized"):
        assert seen_in_replay(cut, fidelity, 3) == expected
    for segment in cut.manifest.segments[1:]:
        assert segment.checkpoint is not None
        normalizer = Normalizer.for_sources(cut.manifest.sources)
        read_checkpoint(cut.path, segment.checkpoint, normalizer)
        assert normalizer.chain.hexdigest() == segment.digest_start
        for batch in cut.raw_frames([segment]):
            for frame in batch:
                for message in normalizer.messages(frame):
                    normalizer.take(message)
        assert normalizer.chain.hexdigest() == segment.digest
    assert verify(cut.path).problems == []


# -- damaged lines -------------------------------------------------------------------------------------------------

GOOD = [collector_line(TS + number, bbo_frame("BTC", MS + number, (10.0 + number, 1.0), None)) for number in range(4)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([b"x", b"\xff\xfe", b"12 {}", b"{"])), max_size=6))
def test_damaged_lines_anywhere_are_kept_counted_and_stop_nothing(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    """In their place, with the time of the line before them (before the first: of that)."""
    lines = [(TS + number, line) for number, line in enumerate(GOOD)]
    for place, junk in sorted(damage, reverse=True):
        lines.insert(place, (TS + max(place - 1, 0), junk + b"\n"))
    recording = import_files(tmp_path_factory.mktemp("damaged") / "tape", b"".join(line for _, line in lines))
    frames = [frame for batch in recording.raw_frames() for frame in batch]
    assert [frame.capture_seq for frame in frames] == list(range(len(lines)))
    assert [frame.ts_recv for frame in frames] == [ts for ts, _ in lines]
    assert [frame.payload for frame in frames if frame.kind == DAMAGED] == [
        line.strip() for _, line in lines if line not in GOOD
    ]
    assert one(recording.manifest.inputs).damaged_lines == len(damage)
    assert recording.manifest.counts.get("event_parse_error", 0) == len(damage)
    messages = messages_of(recording)
    assert sum(isinstance(message, BestQuote) for message in messages) == 4
    assert seen_in_replay(recording, "raw") == seen_in_replay(recording, "normalized")


def test_a_frame_that_the_venue_never_sends_is_kept_and_counted(tmp_path: Path) -> None:
    content = GOOD[0] + collector_line(TS + 1, {"channel": "new"}) + collector_line(TS + 2, b"\xff") + GOOD[3]
    recording = import_files(tmp_path / "tape", content)
    events = [message for message in messages_of(recording) if isinstance(message, StreamEvent)]
    assert [(event.kind, event.capture_seq) for event in events] == [
        (EventKind.PARSE_ERROR, 1),
        (EventKind.PARSE_ERROR, 2),
    ]
    assert [frame.payload for batch in recording.raw_frames() for frame in batch][2] == b"\xff"


@pytest.mark.parametrize("compress", [gzip.compress, lz4.frame.compress])
def test_a_file_cut_short_is_imported_as_far_as_it_goes_and_the_manifest_says_so(tmp_path: Path, compress: Any) -> None:
    content = b"".join(GOOD[:1] * 10_000)
    recording = import_files(tmp_path / "tape", compress(content)[:-300])
    file = one(recording.manifest.inputs)
    assert file.note.startswith("cut short or damaged after ")
    assert recording.manifest.counts["quotes"] >= file.lines - 1 > 3_000


@pytest.mark.parametrize(
    ("content", "line_format", "message"),
    [
        (b"", "collector", "it has no lines, expected lines `<receive time in ns, us or ms> <JSON frame>`"),
        (b"x\ny\n", "collector", "none of its 2 lines can be read, expected lines `<receive time"),
        (b"x\n", "jsonl", 'none of its 1 lines can be read, expected lines `{"ts": ..., "payload": {...}}`'),
        (GOOD[0], "archive", 'expected lines `{"time": ..., "raw": {...}}`'),
        (b"\x1f\x8b\x08\x00", "collector", "it has no lines (cut short or damaged after 0 lines"),
    ],
)
def test_a_file_of_which_no_line_can_be_read_is_one_line_and_leaves_nothing(
    tmp_path: Path, content: bytes, line_format: str, message: str
) -> None:
    with pytest.raises(ImportFailed) as caught:
        import_files(tmp_path / "tape", content, line_format=line_format)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "tape").exists()


# -- several files, units, metadata --------------------------------------------------------------------------------


def prices(recording: Recording) -> list[float | None]:
    return [message.bid_price for message in messages_of(recording) if isinstance(message, BestQuote)]


def quotes_at(*stamps: tuple[int, float]) -> bytes:
    return b"".join(collector_line(TS + at, bbo_frame("BTC", MS, (price, 1.0), None)) for at, price in stamps)


def test_files_of_one_session_are_merged_by_receive_time(tmp_path: Path) -> None:
    """At equal times the file named first goes first; within a file the order stays, even where its clock went back."""
    first = quotes_at((0, 1.0), (10, 2.0), (5, 3.0), (20, 4.0))
    second = quotes_at((0, 5.0), (7, 6.0), (10, 7.0), (11, 8.0), (30, 9.0))
    recording = import_files(tmp_path / "tape", first, second)
    assert prices(recording) == [1.0, 5.0, 6.0, 2.0, 3.0, 7.0, 8.0, 4.0, 9.0]
    frames = [frame for batch in recording.raw_frames() for frame in batch]
    assert [frame.ts_recv - TS for frame in frames] == [0, 0, 7, 10, 5, 10, 11, 20, 30]
    assert [frame.conn_id for frame in frames] == [0, 1, 1, 0, 0, 1, 1, 0, 1]
    segment = one(recording.manifest.segments)
    assert (segment.ts_recv_first, segment.ts_recv_last) == (TS, TS + 30)
    assert prices(import_files(tmp_path / "swapped", second, first))[:2] == [5.0, 1.0]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_file_that_is_given_twice_is_told(tmp_path: Path, compiled: bool) -> None:
    """Under another name and otherwise compressed too; it is imported as it was asked."""
    tape = Tape("binance-spot")
    for _ in range(20):
        tape.diff("BTCUSDT")
    content = b"".join(collector_line(frame.ts_recv, frame.payload) for frame in tape.frames)
    recording = import_files(
        tmp_path / "tape", content, gzip.compress(content), content[:-400], venue="binance-spot", compiled=compiled
    )
    notes = [file.note for file in recording.manifest.inputs]
    assert notes[0] == notes[2] == ""
    assert notes[1] == "it holds the same lines as tape-0.txt: the recording has each of them twice"


def test_each_file_has_its_own_unit(tmp_path: Path) -> None:
    first = collector_line(MS, bbo_frame("BTC", MS, (1.0, 1.0)))
    second = collector_line(TS + SECOND, bbo_frame("BTC", MS, (2.0, 1.0)))
    recording = import_files(tmp_path / "tape", second, first)
    assert prices(recording) == [1.0, 2.0]
    assert [file.time_unit for file in recording.manifest.inputs] == ["ns", "ms"]
    with pytest.raises(ImportFailed, match="none of its 1 lines can be read"):
        import_files(tmp_path / "other", first, time_unit="us")


def test_without_metadata_a_pair_follows_from_the_spelling_where_it_can(tmp_path: Path) -> None:
    coins = ("BTC", "PURR/USDC", "@107", "xyz:SP500", "#7510")
    content = b"".join(collector_line(TS, book_frame(coin, MS, [(1.0, 1.0)])) for coin in coins)
    plain = import_files(tmp_path / "plain", content)
    assert list(plain.manifest.symbols.values()) == ["#7510", "@107", "BTC-USD", "PURR-USDC", "xyz:SP500"]
    metadata = tmp_path / "metadata.json"
    metadata.write_bytes(msgspec.json.encode(REPLIES))
    named = import_files(tmp_path / "named", content, metadata=metadata)
    seen = {message.symbol: message.trading_pair for message in messages_of(named) if isinstance(message, BookSnapshot)}
    assert seen == {
        "BTC": "BTC-USD",
        "PURR/USDC": "PURR-USDC",
        "@107": "HYPE-USDC",
        "xyz:SP500": "xyz:SP500-USDH",
        "#7510": "#7510",
    }
    assert sum(isinstance(message, Instrument) for message in messages_of(named)) == 13
    kinds = [frame.kind for batch in named.raw_frames() for frame in batch]
    assert kinds == [REST_IN] * 5 + [WS_IN] * 5
    assert seen_in_replay(named, "raw") == seen_in_replay(named, "normalized")


def test_metadata_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b"{")
    (tmp_path / "deep.json").write_bytes(b'{"meta":' + b"[" * 99_999 + b"]" * 99_999 + b"}")
    (tmp_path / "wide.json").write_bytes('{"meta":{}}'.encode("utf-16"))
    for name, message in (
        ("deep.json", "is no metadata ("),
        ("wide.json", "is no metadata ("),
        ("bad.json", "is no metadata (Input data was truncated)"),
        ("none", "cannot be read: No such"),
    ):
        with pytest.raises(ImportFailed) as caught:
            import_files(tmp_path / "tape", GOOD[0], metadata=tmp_path / name)
        assert message in str(caught.value)
    assert not (tmp_path / "tape").exists()


def test_a_folder_with_something_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "tape").mkdir()
    import_files(tmp_path / "tape", GOOD[0])
    with pytest.raises(ConfigError, match=r"^.*/tape already exists and is not an empty folder: name another one$"):
        import_files(tmp_path / "tape", GOOD[0])
    with pytest.raises(ConfigError, match=r"^unknown venue 'nowhere', expected one of "):
        import_files(tmp_path / "other", GOOD[0], venue="nowhere")


def test_values_of_more_digits_than_a_float_keeps_are_counted_and_exact_in_raw(tmp_path: Path) -> None:
    data = {
        "coin": "BTC",
        "time": MS,
        "bbo": [{"px": "0.1234567890123456789", "sz": "100000000000000000000.0", "n": 1}],
    }
    content = GOOD[0] + collector_line(TS, {"channel": "bbo", "data": data})
    content += collector_line(TS, {"channel": "trades", "data": [trade("BTC", 1, MS, 123456.123456789)]})
    recording = import_files(tmp_path / "tape", content)
    assert one(recording.manifest.segments).imprecise_values == 1
    raw = pq.read_table(recording.files("raw")[0]).column("payload").to_pylist()
    assert '"0.1234567890123456789"' in raw[1]
