"""What every command says of a recording in progress, and of one whose recorder was killed."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

import analysis
from recordings.care.recovery import recover
from recordings.format.manifest import read_manifest
from recordings.format.schema import TABLES
from recordings.queries.lazy_tables import scan_table
from recordings.recording import Recording
from recordings.storage.lock import LOCK_NAME, FolderLock
from tests.hand_recorder import HandRecorder
from tests.tapes import TS, bbo_frame, book_frame
from tests.toolkit.cli.terminal import only_error, run
from toolkit.clock import SystemClock
from toolkit.errors import UnsealedWarning
from toolkit.frames import CONTROL, WS_IN, Frame, control_payload


def market(folder: Path, sealed: int, unsealed: int) -> HandRecorder:
    """A recorder that has sealed some frames of a market and written others."""
    recorder = HandRecorder(folder)

    def give(count: int) -> None:
        for _ in range(count):
            seq = len(recorder.frames)
            at = TS // 1_000_000 + seq
            payload = (
                book_frame("BTC", at, [(100.0 + seq % 5, 1.0), (99.0, 2.0)], [(110.0, 3.0)]),
                bbo_frame("BTC", at, (100.5 + seq % 5, 1.0), (109.5, 1.0)),
            )[seq % 2]
            content = msgspec.json.encode(payload)
            recorder.give(Frame(seq, TS + seq * 1_000_000, seq, "hyperliquid", 0, 0, WS_IN, content))
        recorder.journal.drain()

    if sealed:
        give(sealed)
        recorder.rotate()
        recorder.seal()
    if unsealed:
        give(unsealed)
    return recorder


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """Ten frames sealed, twenty not, and this process at work on it."""
    recorder = market(tmp_path / "tape", 10, 20)
    with FolderLock(tmp_path / "tape"):
        yield tmp_path / "tape"
    recorder.journal.close()


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """The same, and nobody is at work; it was an hour ago."""
    recorder = market(tmp_path / "tape", 10, 20)
    recorder.journal.close()
    for path in (tmp_path / "tape" / "recording.json", *(tmp_path / "tape" / "journal").iterdir()):
        os.utime(path, ns=(TS, TS))
    return tmp_path / "tape"


SINCE = "2026-07-25T17:20:00.133456789Z"
LIVE = f"20 frames since {SINCE} are not sealed yet; being recorded by process {os.getpid()}"
DEAD = f"20 frames since {SINCE} are not sealed; its recorder has died: run `tickdeck recover`"

READERS = (
    ("gaps",),
    ("replay",),
    ("replay", "--fidelity", "raw"),
    ("replay", "--pair", "BTC-USD"),
)
COLUMN_READERS = (("sql",), ("analyze", "spreads"))


@pytest.mark.parametrize("command", [*READERS, *COLUMN_READERS], ids=" ".join)
def test_a_line_says_what_is_not_sealed_and_one_option_silences_it(live: Path, command: tuple[str, ...]) -> None:
    query = ("SELECT count(*) FROM top",) if command == ("sql",) else ()
    done = run(*command, live, *query)
    only = "only what is sealed is read here; " if command in COLUMN_READERS else ""
    assert (done.exit_code, done.stderr) == (0, f"{live}: {only}{LIVE}\n")
    assert run(*command, live, *query, "--sealed").stderr == ""


@pytest.mark.parametrize("command", [*READERS[1:], *COLUMN_READERS], ids=" ".join)
def test_of_a_dead_recorder_the_line_names_the_remedy(dead: Path, command: tuple[str, ...]) -> None:
    query = ("SELECT count(*) FROM top",) if command == ("sql",) else ()
    done = run(*command, dead, *query)
    assert done.exit_code == 0
    assert done.stderr.endswith(f"{DEAD}\n")
    assert done.stderr.count("\n") == 1


def test_alive_and_dead_are_told_apart_by_the_lock_and_not_by_the_number_in_it(dead: Path) -> None:
    """The process that the file names is alive: it is this one; but nothing holds the lock."""
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (dead / LOCK_NAME).write_text(f"{os.getpid()} {started} {os.uname().nodename}\n")
    assert DEAD in run("info", dead).stdout
    copy = dead.with_name("copy")
    with FolderLock(dead):
        assert "being recorded by process" in run("info", dead).stdout
        shutil.copytree(dead, copy)
        assert DEAD in run("info", copy).stdout


def test_info_counts_what_is_not_sealed(live: Path) -> None:
    values = json.loads(run("info", live, "--json").stdout)
    assert (values["frames"], values["messages"], values["pairs"], values["segments"]) == (30, 30, ["BTC-USD"], 1)
    assert (values["first"], values["last"]) == ("2026-07-25T17:20:00.123456789Z", "2026-07-25T17:20:00.152456789Z")
    assert values["gaps"] == 0
    unsealed = values["unsealed"]
    assert (unsealed["frames"], unsealed["since"], unsealed["is_recorded"]) == (20, SINCE, True)
    assert (unsealed["process"], unsealed["journals"], unsealed["is_played"]) == (os.getpid(), 1, True)
    said = run("info", live).stdout
    assert LIVE in said
    assert "(running, live, 1 segment)" in said
    assert "tickdeck recover" not in said


def test_info_of_a_dead_one_counts_the_gap_that_recover_will_state(dead: Path) -> None:
    values = json.loads(run("info", dead, "--json").stdout)
    assert (values["frames"], values["unsealed"]["is_recorded"], values["unsealed"]["process"]) == (30, False, None)
    assert "(not recovered, live, 1 segment)" in run("info", dead).stdout
    listed = run("gaps", dead, "--json")
    assert listed.exit_code == 3
    assert values["gaps"] == len(json.loads(listed.stdout)) > 0
    (row,) = json.loads(run("ls", dead.parent, "--json").stdout)
    assert (row["frames"], row["unsealed"], row["gaps"], row["problem"]) == (30, 20, values["gaps"], DEAD)
    recover(dead, SystemClock())
    assert json.loads(run("gaps", dead, "--json").stdout) == json.loads(listed.stdout)
    after = json.loads(run("info", dead, "--json").stdout)
    for name in ("messages", "gaps", "pairs", "connections_lost"):
        assert after[name] == values[name]


def test_ls_says_that_one_is_recorded_without_calling_it_a_problem(live: Path) -> None:
    (row,) = json.loads(run("ls", live.parent, "--json").stdout)
    assert (row["frames"], row["messages"], row["unsealed"], row["problem"], row["status"]) == (
        30,
        30,
        20,
        None,
        "running",
    )
    assert row["last"] == "2026-07-25T17:20:00.152456789Z"


def test_large_journals_are_counted_and_not_played_for_a_summary(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not known then is said to be of what is sealed, or is null; never a number of the rest."""
    monkeypatch.setattr("recordings.recording.SUMMARY_BYTES", 100)
    values = json.loads(run("info", live, "--json").stdout)
    assert (values["frames"], values["messages"], values["unsealed"]["is_played"]) == (30, 10, False)
    assert values["pairs"] == ["BTC-USD"]
    said = " ".join(run("info", live).stdout.split())
    assert "messages, gaps and notes are of what is sealed; `tickdeck gaps` plays the rest" in said
    (row,) = json.loads(run("ls", live.parent, "--json").stdout)
    assert (row["frames"], row["unsealed"], row["messages"], row["gaps"], row["problem"]) == (30, 20, None, None, None)


def test_nothing_of_a_recording_is_sealed_yet(tmp_path: Path) -> None:
    """The first hour of a recording."""
    recorder = market(tmp_path / "tape", 0, 20)
    with FolderLock(tmp_path / "tape"):
        values = json.loads(run("info", tmp_path / "tape", "--json").stdout)
        assert (values["frames"], values["messages"], values["pairs"]) == (20, 20, ["BTC-USD"])
        done = run("replay", tmp_path / "tape", "--json")
        said = json.loads(done.stdout)
        assert (done.exit_code, said["messages"], said["equal"], said["recorded_digest"]) == (0, 20, None, None)
        assert "nothing was compared: the 20 frames that are not sealed" in run("replay", tmp_path / "tape").stdout
        verified = run("verify", tmp_path / "tape")
        assert verified.exit_code == 0
        assert "not sealed: 20 frames, 20 messages" in verified.stdout
        assert "digest raw         not computed" in verified.stdout
        assert run("gaps", tmp_path / "tape").stdout == "no gaps\n"
    recorder.end()


def test_replay_compares_what_is_sealed(live: Path) -> None:
    done = run("replay", live, "--json")
    said = json.loads(done.stdout)
    digest = read_manifest(live).digest
    assert (said["equal"], said["recorded_digest"], said["sealed_digest"]) == (True, digest, digest)
    assert (said["messages"], said["unsealed_frames"]) == (30, 20)
    assert said["digest"] != digest
    later = json.loads(run("replay", live, "--json", "--from", SINCE).stdout)
    assert (later["equal"], later["messages"], later["digest"]) == (None, 20, said["digest"])
    sealed = json.loads(run("replay", live, "--json", "--sealed").stdout)
    assert (sealed["equal"], sealed["messages"], sealed["digest"]) == (True, 10, digest)


def test_replay_says_which_digest_differs(live: Path) -> None:
    """Of what is sealed, though the journal goes on behind it."""
    from tests.manifests import change_fields

    manifest = read_manifest(live)
    segment = msgspec.structs.replace(manifest.segments[0], digest=32 * "a")
    change_fields(live, digest=32 * "a", segments=[segment], resume=None)
    done = run("replay", live, "--fidelity", "raw", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["equal"] is False


def test_a_connection_that_was_closed_at_the_end_is_not_lost(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")

    def say(event: str, **details: Any) -> None:
        seq = len(recorder.frames)
        payload = control_payload(event, **details)
        recorder.give(Frame(seq, TS + seq, seq, "hyperliquid", 0, 0, CONTROL, payload))

    for _ in range(2):
        say("connected", url="ws://x", role="market")
        say("disconnected", role="market", code=1006, reason="cause=stop, I say", error="")
    say("connected", url="ws://x", role="market")
    recorder.journal.drain()
    with FolderLock(tmp_path / "tape"):
        assert json.loads(run("info", tmp_path / "tape", "--json").stdout)["connections_lost"] == 2
    say("disconnected", role="market", code=1000, reason="", error="", cause="stop")
    recorder.end()
    values = json.loads(run("info", tmp_path / "tape", "--json").stdout)
    assert (values["connections_lost"], values["counts"]["event_disconnected"]) == (2, 3)
    assert "connections lost  2" in " ".join(run("info", tmp_path / "tape").stdout.split("\n")).replace("   ", "")


def test_no_gaps_are_one_line(dead: Path) -> None:
    assert run("gaps", dead, "--sealed").stdout == "no gaps\n"
    assert run("gaps", dead, "--sealed", "--pair", "BTC").stdout == "no gaps\n"
    assert json.loads(run("gaps", dead, "--sealed", "--json").stdout) == []
    assert run("gaps", dead, "--sealed", "--format", "csv").stdout.startswith("venue,symbol,")


@pytest.mark.parametrize("command", [("compact",), ("renormalize",), ("prune", "--keep-raw-days", "1")], ids=" ".join)
def test_what_rewrites_takes_sealed_recordings_only(dead: Path, command: tuple[str, ...]) -> None:
    assert only_error(run(*command, dead)) == f"{dead} is not sealed: run `tickdeck recover {dead}` first"
    with FolderLock(dead):
        assert f"is being written by process {os.getpid()}" in only_error(run(*command, dead))


# -- in Python ---------------------------------------------------------------------------------------------------------


def test_what_reads_columns_warns_unless_the_sealed_part_was_asked_for(live: Path) -> None:
    for read in (analysis.connect, analysis.latency, analysis.coverage, analysis.spread_window, analysis.evidence_of):
        with pytest.warns(UnsealedWarning, match=rf"tape: without what is not sealed: {LIVE}$") as told:
            read(live)
        assert len(told) == 1
        assert told[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(Recording.open(live, sealed=True))


@pytest.mark.parametrize("sealed", [0, 10])
def test_scan_gives_the_rows_that_sealing_will(tmp_path: Path, sealed: int) -> None:
    """Of every table; only their order is another: by time, and not by symbol."""
    folder = tmp_path / "tape"
    recorder = market(folder, sealed, 20)
    with FolderLock(folder):
        opened = Recording.open(folder)
        found = {table: scan_table(opened, table).collect() for table in TABLES}
        some = analysis.scan(folder, "book").filter(pl.col("side") == "ask").select("price", "capture_seq")
        assert (
            some.head(3).collect().rows() == found["book"].filter(side="ask").select("price", "capture_seq").rows()[:3]
        )
        assert some.select(pl.len()).collect(engine="streaming").item() == (sealed + 20) // 2
        assert analysis.scan(Recording.open(folder, sealed=True), "raw").collect().height == sealed
    recorder.end()
    for table, frame in found.items():
        expected = analysis.scan(folder, table).drop("recording").collect()
        assert frame.schema == expected.schema
        key = ["capture_seq"] if table == "raw" else ["capture_seq", "sub_seq"]
        assert frame.sort(key).equals(expected.sort(key)), table
    assert found["top"].height == sealed + 20
