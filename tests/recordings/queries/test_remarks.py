"""What is no damage and yet worth knowing: `verify` and `info` say it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recordings.format.manifest import Manifest, SourceInfo, read_manifest, write_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.queries.remarks import remarks
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from tests.tapes import TS
from tests.toolkit.cli.terminal import run
from toolkit.clock import NS_PER_S
from toolkit.frames import CONTROL, WS_IN, Frame, control_payload
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

Said = tuple[float, str, bytes]


def step(second: float, delta_s: float) -> Said:
    return second, CONTROL, control_payload("clock_step", delta_ns=round(delta_s * NS_PER_S))


def state(second: float, *, is_synchronised: bool) -> Said:
    details = {"offset_ns": 0, "error_max_ns": 16_000_000_000, "error_estimated_ns": 1}
    return second, CONTROL, control_payload("clock_state", is_synchronised=is_synchronised, **details)


def diff(second: float, symbol: str, number: int) -> Said:
    ms = TS // 1_000_000 + round(second * 1000)
    data = {"e": "depthUpdate", "E": ms, "T": ms, "s": symbol, "U": number, "u": number, "pu": number - 1}
    stream = {"stream": f"{symbol.lower()}@depth@100ms", "data": {**data, "b": [["1", "1"]], "a": []}}
    return second, WS_IN, json.dumps(stream).encode()


def snapshot(second: float, number: int) -> Said:
    return second, WS_IN, json.dumps({"lastUpdateId": number, "bids": [["1", "1"]], "asks": [["2", "1"]]}).encode()


def recorded(folder: Path, *said: Said, venue: str = "binance-usdm") -> Recording:
    """A sealed recording of these frames."""
    folder.mkdir()
    version = find_venue(venue).make_protocol(ProtocolOptions()).version
    write_manifest(folder, Manifest(created_ns=TS, sources=[SourceInfo(venue, version, ())]))
    journal = JournalWriter(folder, 0)
    for seq, (second, kind, payload) in enumerate(said):
        ns = round(second * NS_PER_S)
        journal.append(Frame(seq, TS + ns, ns, venue, 0, 0, kind, payload))
    journal.close()
    Sealer(folder).seal(0)
    manifest = read_manifest(folder)
    manifest.status = "sealed"
    write_manifest(folder, manifest)
    return Recording.open(folder)


def test_steps_of_the_clock_are_told_with_their_size_and_time(tmp_path: Path) -> None:
    tape = recorded(tmp_path / "tape", step(1, -3600.5), step(2, 0.25))
    (line,) = remarks(tape)
    assert line == (
        "the wall clock stepped 2 times, by -3,600.500 s at 2026-07-25T17:20:01.123456789Z, "
        "by +0.250 s at 2026-07-25T17:20:02.123456789Z: times of receipt before and after do not compare"
    )


def test_many_steps_are_one_line(tmp_path: Path) -> None:
    (line,) = remarks(recorded(tmp_path / "tape", *(step(second, 1) for second in range(50))))
    assert line.startswith("the wall clock stepped 50 times, by ")
    assert line.count(" at ") == 3
    assert "and 47 more: " in line


@pytest.mark.parametrize(
    ("good", "bad", "when"),
    [(0, 3, "always"), (2, 1, "1 of 3 times that it was asked")],
)
def test_a_clock_that_nothing_kept_right_is_told(tmp_path: Path, good: int, bad: int, when: str) -> None:
    states = [state(n, is_synchronised=True) for n in range(good)]
    states += [state(good + n, is_synchronised=False) for n in range(bad)]
    assert remarks(recorded(tmp_path / "tape", *states)) == [
        f"the clock of the machine was not synchronised ({when}), the kernel's bound of its error is 16,000 ms"
    ]


def test_a_clock_that_was_kept_right_is_nothing_to_tell(tmp_path: Path) -> None:
    assert remarks(recorded(tmp_path / "tape", state(1, is_synchronised=True), state(2, is_synchronised=True))) == []


def test_a_pair_whose_book_came_late_is_told(tmp_path: Path) -> None:
    """From its first diff to the snapshot that they follow."""
    diffs = [diff(second, "BTCUSDT", 10 + second) for second in range(30)]
    tape = recorded(tmp_path / "tape", *diffs, snapshot(30, 39), diff(31, "BTCUSDT", 40))
    (line,) = remarks(tape)
    assert line.startswith("BTC-USDT of binance-usdm had no book for ")
    assert line.endswith(" s after it was asked for: see `tickdeck gaps`")


def test_pairs_that_never_got_a_book_are_told_by_verify_and_info_and_gaps(tmp_path: Path) -> None:
    """The recording is sound; it is not what somebody wanted."""
    said = [diff(n / 10, f"C{n % 6}USDT", 10 + n // 6) for n in range(200)]
    folder = recorded(tmp_path / "tape", *said).path
    for command in ("verify", "info"):
        done = run(command, folder)
        assert done.exit_code == 0
        assert "C0-USDT of binance-usdm has no book from 2026-07-25T17:20:00" in done.stdout
        assert "3 more pairs had no book at first: see `tickdeck gaps`" in done.stdout
    done = run("gaps", folder, "--json")
    assert done.exit_code == 3
    assert [row["cause"] for row in json.loads(done.stdout)].count("no_snapshot") == 6
