"""Each benchmark runs, on a tiny size, and counts what it should; how fast it is concerns no test."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sys
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import pytest

from benchmarks import journal, many_pairs, tiers, whole_venue
from benchmarks.__main__ import BENCHES
from benchmarks.captures import archive_frames, book_frames, sized_payloads, write_busy
from benchmarks.frame_server import framed, offsets
from benchmarks.harness import Figure, Options, machine, measure
from benchmarks.matching import run as run_matching
from benchmarks.memory import _base, _payload_bytes, _replayed, _tape
from benchmarks.replaying import run as run_replay
from benchmarks.sealing import run as run_sealing
from benchmarks.seeking import run as run_seeking
from benchmarks.serving import run as run_serving
from benchmarks.size import run as run_size
from recordings.care.verifying import verify
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer


@pytest.fixture
def tiny(tmp_path: Path) -> Options:
    """No captures: what a fresh clone has."""
    return Options(
        folder=tmp_path,
        frames=600,
        repeats=1,
        seconds=0.3,
        seal_frames=1_000,
        seek_frames=400,
        memory_bytes=1 << 20,
        venue_frames=800,
        venue_segments=4,
    )


def named(figures: list[Figure], name: str) -> Figure:
    """The figure of that name."""
    return next(figure for figure in figures if figure.name == name)


def test_importing_counts_every_frame_and_the_command_prints_machine_and_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The tiled frames all arrive, in several segments; `python -m benchmarks import --json` is what a program would read.

    In this process: what it compiles serves the tests that follow.
    """
    words = ["import", "--frames", "600", "--repeats", "1", "--no-captures", "--json"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    monkeypatch.delitem(sys.modules, "benchmarks.__main__")  # what is run is a module of its own
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("benchmarks", run_name="__main__")
    assert not ended.value.code
    result = json.loads(capsys.readouterr().out)
    assert set(result["machine"]) == {"cpu", "system", "python", "packages", "load"} == {name for name, _ in machine()}
    assert {figure["bench"] for figure in result["figures"]} == {"import"}
    figures = [Figure(**figure) for figure in result["figures"]]
    assert "600 frames in 6 segments" in named(figures, "frames, full depth").note
    assert all(figure.value > 0 for figure in figures)


def test_matching_is_measured_with_and_without_orders(tiny: Options) -> None:
    """In plain Python here: compiling takes longer than the rest of this file."""
    figures = run_matching(replace(tiny, frames=120), compiled=False)
    assert [figure.name for figure in figures] == [
        "default rules, no orders",
        "default rules, 40 orders resting",
        "hftbacktest rules, no orders",
        "hftbacktest rules, 40 orders resting",
    ]
    assert all(figure.value > 0 and figure.unit == "events/s" for figure in figures)
    assert all(", 0 fills" in figure.note for figure in figures[::2])


def test_replaying_gives_every_message_to_the_callback(tiny: Options) -> None:
    """Both fidelities, with and without digest: as many messages as frames."""
    figures = run_replay(tiny)
    assert [figure.name for figure in figures] == [
        "normalized",
        "normalized, with the digest",
        "raw",
        "raw, with the digest",
    ]
    assert all("600 messages" in figure.note and figure.value > 0 for figure in figures)


@pytest.mark.slow
def test_the_journal_bench_loses_nothing(tiny: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every payload that was sent is in the journal, byte for byte, and both sides of the ratio are there; with followers too."""
    monkeypatch.setattr(journal, "_SEARCH_STEPS", 1)
    figures = journal.run(tiny)
    assert named(figures, "live source and journal").note == "0 of 3,000 lost"
    ratio = named(figures, "live source and journal over the bare client")
    bare, ours = named(figures, "bare websockets client"), named(figures, "live source and journal")
    assert ratio.value == pytest.approx(ours.value / bare.value)
    assert named(figures, "journal, protocol, books and digest").note.endswith(", 0 of 600 lost")
    followed = named(figures, "the same, followed by one that reads and one that hangs")
    assert followed.note.startswith("0 of 3,000 lost, the one that reads was given 3,0")


def test_sealing_reports_the_lag_of_the_loop(tiny: Options) -> None:
    """The loop was looked at while the other process sealed the whole segment."""
    figures = run_sealing(tiny)
    assert named(figures, "frames sealed").note.startswith("1,000 frames")
    most = named(figures, "the same, at most").value
    assert 0 <= named(figures, "lag of the receiving loop meanwhile, 99.9th percentile").value <= most


@pytest.mark.slow
def test_serving_delivers_every_frame_to_every_client(tiny: Options) -> None:
    """At the recorded pace and without one, and both sides of the ratio are there."""
    figures = run_serving(tiny)
    note = named(figures, "delivered at 1x").note
    frames, seconds = re.search(r"; ([\d,]+) frames in ([\d.]+) s to 50 clients", note).groups()  # type: ignore[union-attr]
    assert int(frames) > 50
    assert named(figures, "delivered at 1x").value == pytest.approx(50 * int(frames) / float(seconds), rel=0.3)
    assert named(figures, "late, 99 %").note.startswith("0 clients cut off")
    ratio = named(figures, "tickdeck serve over the bare server")
    bare, ours = named(figures, "bare websockets server"), named(figures, "tickdeck serve --speed max")
    assert ratio.value == pytest.approx(ours.value / bare.value)


def test_sizes_add_up(tiny: Options) -> None:
    """Raw and normalized are more than raw, and the ratio is that of the two sizes shown."""
    figures = run_size(tiny)
    given, raw = named(figures, "hyperliquid: capture, gzip"), named(figures, "hyperliquid: raw table")
    total = named(figures, "hyperliquid: raw and normalized tables")
    assert 0 < raw.value < total.value
    ratio = named(figures, "hyperliquid: raw and normalized over the capture")
    assert ratio.value == pytest.approx(total.value / given.value)


def test_seeks_are_within_one_segment(tiny: Options) -> None:
    """Median and worst of twenty in both fidelities, all within the tiled frames."""
    figures = run_seeking(tiny)
    for fidelity in ("normalized", "raw"):
        median, worst = (named(figures, f"{fidelity}, {name} of 20 seeks") for name in ("median", "worst"))
        assert 0 < median.value <= worst.value
        assert "a segment of 400 frames" in worst.note


@pytest.mark.slow
def test_many_pairs_count_the_same_frames_and_messages(tiny: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one pair and of thirty: sealed, replayed both ways, verified; and sizes of what is there."""
    monkeypatch.setattr(many_pairs, "PAIRS", (1, 30))
    figures = many_pairs.run(tiny)
    for pairs in ("1 pair", "30 pairs"):
        assert named(figures, f"{pairs}: sealing").note == "800 frames"
        raw, rows = (named(figures, f"{pairs}: replay, {fidelity}") for fidelity in ("raw", "normalized"))
        assert raw.note == rows.note
        assert named(figures, f"{pairs}: states").value < named(figures, f"{pairs}: tables").value
        assert 20 < named(figures, f"{pairs}: verify, memory").value < 512
    assert 0 < named(figures, "verify: slowest over fastest").value <= 1
    for fidelity in ("raw", "normalized"):
        assert named(figures, f"a segment, {fidelity}").note.startswith(
            "4 segments of 190 pairs; less than a tenth from "
        )


@pytest.mark.slow
def test_tiers_count_levels_by_the_number_of_pairs(tiny: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the compiled strategy, for which an engine would be compiled."""
    monkeypatch.setattr(tiers, "PAIRS", (1, 30))
    monkeypatch.setattr(tiers, "_JOBS", {name: job for name, job in tiers._JOBS.items() if name != "compiled"})
    figures = tiers.run(tiny)
    for pairs in ("1 pair", "30 pairs"):
        columns, called = (named(figures, f"{pairs}: {name}") for name in ("columns", tiers._NAMES["callback"]))
        assert columns.value > 0 < called.value
        assert columns.note.partition(" levels")[0] == called.note.partition(" levels")[0] != "0"
    assert 0 < named(figures, "columns: slowest over fastest").value <= 1


@pytest.mark.parametrize("pairs", [1, 60])
def test_a_whole_venue_is_sound_and_alike_both_ways(tmp_path: Path, pairs: int) -> None:
    """Every pair has a book, nothing is refused, and the digests agree; the same arguments give the same frames."""
    whole_venue.write_journal(tmp_path, pairs, 500, segments=3)
    sealer = Sealer(tmp_path)
    for number in range(3):
        sealer.seal(number, status="sealed")
    found = verify(tmp_path)
    assert found.problems == []
    assert found.raw_digest == found.normalized_digest == found.recorded_digest
    assert found.frame_count == 500
    assert len(Recording.open(tmp_path).pairs_with_book()) == pairs
    assert "event_parse_error" not in Recording.open(tmp_path).manifest.counts
    frames = list(whole_venue.venue_frames(pairs, 50))
    assert frames == list(whole_venue.venue_frames(pairs, 50))


@pytest.mark.parametrize("overlapping", [1, 8])
def test_a_tape_of_copies_is_sound_and_replayed_as_a_whole(tiny: Options, overlapping: int) -> None:
    """Each copy verifies, was received later, and gives its messages; the child tells its own peak."""
    base, _ = _base(tiny)
    folders = _tape(base, 3, overlapping, tiny.folder / "tape")
    given = Recording.open(base).manifest.segments[0]
    copies = [Recording.open(folder).manifest.segments[0] for folder in folders]
    firsts = [copy.ts_recv_first for copy in copies]
    assert (firsts[1] > copies[0].ts_recv_last) == (overlapping == 1)
    assert firsts == sorted(set(firsts))
    for folder in folders:
        found = verify(folder)
        assert found.problems == []
        assert found.message_count == given.message_count
        assert _payload_bytes(folder) == _payload_bytes(base)
    told = _replayed(folders, "normalized")
    notices = 4 if overlapping == 1 else 0  # a stale and a gap per hole
    assert told["messages"] == 3 * given.message_count + notices
    assert 20 << 20 < told["peak_bytes"] < 4 << 30


@pytest.mark.parametrize("module", BENCHES.values())
def test_every_bench_can_be_found(module: str) -> None:
    """A name on the command line is a module with `run`."""
    assert callable(importlib.import_module(module).run)


def test_tiled_frames_go_forward_in_time(tiny: Options) -> None:
    """The second lap is later than the first, on our clock and on the venue's."""
    capture = book_frames(tiny)
    frames = list(archive_frames(capture, len(capture.frames) + 1))
    assert frames[: len(capture.frames)] == capture.frames
    assert frames[-1][0] > frames[-2][0]
    assert frames[-1][1] != frames[0][1]
    assert len(frames[-1][1]) == len(frames[0][1])


def test_busy_laps_go_on_where_the_one_before_ended(tmp_path: Path) -> None:
    """Times and ids of every kind go up by lap, and a diff follows the last one of the lap before."""
    frames = [
        (10**18, b'{"stream":"x@depth","data":{"e":"depthUpdate","E":5,"T":5,"U":11,"u":14,"pu":10,"b":[["1","2"]]}}'),
        (10**18 + 7, b'{"stream":"x@trade","data":{"e":"trade","E":6,"T":6,"t":90,"p":"1"}}'),
        (10**18 + 9, b'{"stream":"x@depth","data":{"e":"depthUpdate","E":7,"T":7,"U":15,"u":18,"pu":14,"b":[]}}'),
    ]
    lines = write_busy("binance-usdm", frames, 5, tmp_path / "x").read_bytes().splitlines()
    assert lines[:3] == [b"%d %s" % frame for frame in frames]
    assert lines[3].partition(b" ")[0] == b"%d" % (10**18 + 5 * 10**6)
    assert b'"E":10,"T":10,"U":19,"u":22,"pu":18,"b":[["1","2"]]' in lines[3]
    assert b'"t":1000090,"p":"1"' in lines[4]
    later = write_busy("binance-usdm", frames, 2, tmp_path / "y", first_lap=1).read_bytes().splitlines()
    assert later == lines[3:5]


def test_the_server_finds_the_frames_it_sends(tiny: Options) -> None:
    """Framing and finding the frames again agree for every length of the header."""
    payloads = [b"x" * size for size in (0, 125, 126, 65_535, 65_536)]
    content = b"".join(map(framed, payloads))
    places = offsets(content)
    assert [content[a:b] for a, b in pairwise(places)] == list(map(framed, payloads))


def test_generated_sizes_are_those_of_a_busy_stream(tiny: Options) -> None:
    """Without a capture the mix of short and long frames is made, the same every time."""
    origin, payloads = sized_payloads(tiny, 2_000)
    assert origin.startswith("generated")
    assert payloads == sized_payloads(tiny, 2_000)[1]
    assert 200 < sum(map(len, payloads)) / len(payloads) < 400


def test_a_measurement_is_the_median_of_its_runs() -> None:
    """The first run warms up and does not count."""
    runs = count()
    timing, last = measure(lambda: next(runs), 3)
    assert last == 3
    assert 0 <= timing.thread <= timing.process + 0.1
    assert timing.wall >= 0
