"""Compiled code at its limits: memory that stays within bounds, and frames that only nearly mean what they seem to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from recordings.format.frames_to_rows import frames_to_batch
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.normalizer import Normalizer
from tests.toolkit.venues.binance_tapes import Tape, both
from toolkit.kernels.levels import clear_side, set_levels
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue
from toolkit.venues.binance import kernel_arrays
from toolkit.venues.binance.kernel_arrays import Arrays

ROOT = Path(__file__).resolve().parents[4]


def session(venue: str = "binance-spot") -> Tape:
    """Two instruments with a book, a quote and a trade each."""
    tape = Tape(venue)
    for symbol in tape.last:
        tape.diff(symbol)
        tape.snapshot(symbol, 0)
        tape.diff(symbol)
        tape.quote(symbol)
        tape.trades(symbol)
    return tape


def arrays_after(tape: Tape, folder: Path) -> Arrays:
    """What compiled code holds after a session."""
    normalizer = Normalizer({tape.venue: find_venue(tape.venue).make_protocol(ProtocolOptions())})
    assert normalizer.compile()
    writer = SegmentWriter(folder, 0, normalizer)
    writer.add_batch(frames_to_batch(tape.frames))
    arrays: Arrays = normalizer._takers[tape.venue]._arrays  # type: ignore[attr-defined]
    return arrays


# -- memory ------------------------------------------------------------------------------------------------------------


def growing(tape: Tape, between: Callable[[Tape], None], rounds: int = 60) -> Tape:
    """A book that has a few levels more, each on a page of its own, whenever a frame for others makes it load again."""
    for number in range(rounds):
        tape.diff("BTCUSDT", ",".join(f'["{level * 7 + 1}.01","1"]' for level in range(number * 3, number * 3 + 3)), "")
        between(tape)
    return tape


FRAMES_BETWEEN: dict[str, Callable[[Tape], None]] = {
    "kline": lambda tape: tape.stream("btcusdt@kline_1m", '{"e":"kline","E":1}'),
    "unknown": lambda tape: tape.add(b'{"what":1}'),
    "mark price": lambda tape: tape.stream("btcusdt@markPrice", f'{{"E":{tape.now},"s":"BTCUSDT","p":"100","T":0}}'),
    "the same diff again": lambda tape: tape.frames.append(_again(tape)),
}


def _again(tape: Tape) -> Any:

    return msgspec.structs.replace(tape.frames[-1], capture_seq=len(tape.frames))


@pytest.mark.parametrize("name", FRAMES_BETWEEN)
@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm"])
def test_a_book_that_is_loaded_again_and_again_takes_what_its_levels_need(
    tmp_path: Path, venue: str, name: str
) -> None:
    """Not twice as much each time: that asked for 32 GiB after a few hundred lines."""
    tape = growing(session(venue), FRAMES_BETWEEN[name])
    store = arrays_after(tape, tmp_path).store
    assert len(store.bits) <= 1024
    assert store.page.shape[1] <= 512
    both(venue, tape.frames, [])


def test_room_grows_with_what_is_asked_and_no_further() -> None:
    """A few pages more each time, as a book that grows asks for, are a few pages and not a doubling."""
    arrays = Arrays("binance-spot", is_spot=True)
    for levels in range(900, 3000, 3):
        keys = np.arange(levels, dtype=np.int64) * 64
        assert arrays.make_room(0, levels)
        clear_side(arrays.store, 0)
        set_levels(arrays.store, 0, keys, np.ones(levels))
    assert len(arrays.store.bits) <= 4 * 3000
    assert arrays.store.page.shape[1] <= 2 * 3000


def test_a_frame_that_needs_one_array_longer_leaves_the_others(tmp_path: Path) -> None:
    """Many levels on few pages: more bytes to hash, and no more room for pages."""
    tape = session()
    levels = ",".join(f'["{100 + number / 10000:.4f}","1"]' for number in range(4000))
    tape.diff("BTCUSDT", '["100.0001","1"]', "")
    tape.diff("BTCUSDT", "", levels)
    arrays = arrays_after(tape, tmp_path)
    assert len(arrays.scratch.bytes) >= 4000 * 18
    assert len(arrays.store.bits) <= 16 * 1024


@pytest.mark.parametrize("limit", ["_SLOTS_MAX", "_PAGES_MAX", "_HASHED_MAX"])
def test_a_book_that_outgrows_the_arrays_goes_to_the_protocol(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """With the same outcome; others are taken as before."""
    monkeypatch.setattr(kernel_arrays, limit, {"_SLOTS_MAX": 1024, "_PAGES_MAX": 256, "_HASHED_MAX": 1 << 17}[limit])
    tape = session()
    for start in range(0, 9000, 600):
        tape.diff("BTCUSDT", "", ",".join(f'["{101 + level}.01","1"]' for level in range(start, start + 600)))
        for _ in range(20):
            tape.diff("ETHUSDT")
    _, taken = both(tape.venue, tape.frames, [50, 120])
    assert taken > 250


def test_a_frame_of_megabytes_goes_to_the_protocol() -> None:
    """So the arrays need not grow to what no market sends."""
    tape = session()
    tape.diff(
        "BTCUSDT", ",".join(f'["{1 + level % 90}.{level % 7}","{level}.000000001"]' for level in range(180_000)), ""
    )
    tape.diff("BTCUSDT")
    both(tape.venue, tape.frames, [])


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [200, 255, 256, 257, 40_000, 200_000])
@pytest.mark.parametrize("kind", ["bookTicker", "trade", "aggTrade", "depth"])
def test_a_name_of_any_length_is_no_write_past_an_array(kind: str, length: int) -> None:
    tape = session()
    name = "x" * (length - len(kind) - 1)
    data = {
        "bookTicker": '{"u":7,"s":"X","b":"1","B":"1","a":"2","A":"1"}',
        "trade": f'{{"e":"trade","E":{tape.now},"T":{tape.now},"s":"X","t":7,"p":"1","q":"1","m":true}}',
        "aggTrade": f'{{"e":"aggTrade","E":{tape.now},"T":{tape.now},"s":"X","a":7,"f":7,"l":8,"p":"1","q":"1","m":true}}',
        "depth": f'{{"e":"depthUpdate","E":{tape.now},"s":"X","U":1,"u":2,"b":[["1","1"]],"a":[]}}',
    }[kind]
    for _ in range(3):
        tape.stream(f"{name}@{kind}", data)
    tape.diff("BTCUSDT")
    both(tape.venue, tape.frames, [8])


def test_hundreds_of_names_are_told_apart(tmp_path: Path) -> None:
    """The table of names grows with them."""
    tape = session()
    for number in range(9000):
        tape.stream(f"x{number % 400}@bookTicker", f'{{"u":7,"s":"X{number % 400}","b":"1","B":"1","a":"2","A":"1"}}')
    _, taken = both(tape.venue, tape.frames, [450])
    assert taken >= 1000
    assert arrays_after(tape, tmp_path).feeds.kind.shape[0] <= 1024


@pytest.mark.parametrize(
    "name", ["btc\\u0075sdt@trade", "btcusdt@tr\\u0061de", "x\\\\y@trade", 'x\\"y@trade', "\\u0001@trade"]
)
def test_names_with_escapes_come_out_the_same(name: str) -> None:
    """As they are, and once more as what they stand for, which is no JSON then."""
    tape = session()
    data = f'{{"e":"trade","E":{tape.now},"T":{tape.now},"s":"BTCUSDT","t":7,"p":"1","q":"1","m":true}}'
    plain = name.encode().decode("unicode_escape")
    for spelling in (name, plain, name, plain, plain):
        tape.stream(spelling, data)
        tape.trades("BTCUSDT")
    both(tape.venue, tape.frames, [12])


@pytest.mark.parametrize("kind", ["trade", "bookTicker", "depth@100ms", "aggTrade"])
def test_streams_in_mixed_case_leave_the_same_checkpoint(kind: str) -> None:
    """Two names are one stream then; the later frame says when it spoke last."""
    tape = session()
    for number in range(12):
        before = len(tape.frames)
        say: dict[str, Callable[[str], None]] = {
            "trade": tape.trades,
            "bookTicker": tape.quote,
            "depth@100ms": tape.diff,
            "aggTrade": tape.aggregate,
        }
        say[kind]("BTCUSDT")
        (frame,) = tape.frames[before:]
        if number % 3:
            name = b"BTCUSDT@" if number % 3 == 1 else b"BtcUsdt@"
            tape.frames[-1] = msgspec.structs.replace(frame, payload=frame.payload.replace(b"btcusdt@", name, 1))
    for cuts in ([], [15], range(40)):
        both(tape.venue, tape.frames, cuts)


# -- nearly the same ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"pu":', b'"P":'),
        (b'"pu":', b'"P":5,"pu":'),
        (b'"e":', b'"P":"x","e":'),
        (b'"s":"BTCUSDT"', b'"s":"12345678901234567890"'),
        (b'"s":"BTCUSDT"', b'"s":"1234567890123456"'),
        (b'"s":"BTCUSDT"', b'"s":"BTCUSDT","c":"12345678901234567890"'),
        (b'"s":"BTCUSDT"', b'"s":"BTCUSDT","1234567890123456789":1'),
        (b'"s":"BTCUSDT"', b'"s":"BTCUSDT","1234567890123456":null'),
        (b'"s":"BTCUSDT"', b'"s":"\xff","c":"0.12345678901234567890"'),
        (b'"u":', b'"\x01":1,"u":'),
        (b'"u":', b'"\x02":1,"u":'),
    ],
)
@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm"])
def test_what_looks_like_a_known_field_comes_out_the_same(venue: str, old: bytes, new: bytes) -> None:
    """Keys that share a place, and text that is counted as a decimal of more digits than a float64 keeps."""

    tape = session(venue)
    for _ in range(3):
        tape.diff("BTCUSDT")
        tape.quote("BTCUSDT")
        tape.trades("BTCUSDT")
        tape.aggregate("BTCUSDT")
    for place in range(len(tape.frames) - 8, len(tape.frames)):
        frame = tape.frames[place]
        tape.frames[place] = msgspec.structs.replace(frame, payload=frame.payload.replace(old, new, 1))
    both(venue, tape.frames, [])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0.9007199254740991", "0.9007199254740990"),
        ("0.5000000000000001", "0.50000000000000011"),
        ("90071992547409.91", "90071992547409.90"),
        ("9007199254740991", "9007199254740990"),
        ("100.1000000000000", "100.1"),
        ("100.10000000000001", "100.1"),
        ("0.1000000000000000055", "0.1"),
        ("4503599627370497.5", "4503599627370497"),
    ],
)
def test_levels_that_differ_in_the_last_digits_come_out_the_same(first: str, second: str) -> None:
    """What is one float64 is one level."""
    tape = session()
    for price in (first, second, first):
        tape.diff("BTCUSDT", "", f'["{price}","3"]')
        tape.diff("BTCUSDT", "", f'["{second}","5"]')
        tape.diff("BTCUSDT", "", f'["{first}","0"]')
    both(tape.venue, tape.frames, [])


# -- every access ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_kernel_reads_or_writes_outside_of_an_array() -> None:
    """The same tests by code that is compiled to check every access, its own instructions for memory included."""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    files = ["test_columnar.py", "test_columnar_limits.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not slow and not network"]
        + [str(ROOT / "tests/toolkit/venues/binance" / name) for name in files]
        + [str(ROOT / "tests/toolkit/venues/hyperliquid/test_columnar.py")]
        + [str(ROOT / "tests/toolkit/kernels"), str(ROOT / "tests/recordings/importing/test_line_blocks.py")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
