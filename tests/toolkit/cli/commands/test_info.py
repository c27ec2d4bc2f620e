"""`tickdeck info`, and what every reading command says of a folder that it cannot read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.care.compacting import small_segments
from recordings.format.manifest import read_manifest, write_manifest
from recordings.recording import Recording
from tests.analysis.tapes import make_recording
from tests.manifests import change_fields
from tests.tapes import TS, mixed_tape
from tests.toolkit.cli.terminal import only_error, run


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return mixed_tape(tmp_path_factory.mktemp("info") / "tape")


def test_it_says_what_a_recording_holds(tape: Recording) -> None:
    done = run("info", tape.path)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "(sealed, import, 3 segments)" in lines["recording"]
    assert lines["pairs"].endswith("#7510, BTC-USD, ETH-USD, PURR-USDC")
    assert lines["from"].endswith("2026-07-25T17:20:00.123456789Z")
    assert lines["digest"].endswith(tape.manifest.digest)
    assert any(line.split()[:2] == ["frames", "240,"] for line in done.stdout.splitlines())
    assert (done.stderr, done.exit_code) == ("", 0)


def test_json_says_the_same_for_programs(tape: Recording) -> None:
    values = json.loads(run("info", tape.path, "--json").stdout)
    assert (values["status"], values["venues"], values["segments"]) == ("sealed", ["hyperliquid"], 3)
    assert (values["first"], values["last"]) == ("2026-07-25T17:20:00.123456789Z", "2026-07-25T17:20:00.123457028Z")
    assert values["counts"] == tape.manifest.counts
    assert values["messages"] == sum(segment.message_count for segment in tape.manifest.segments)
    assert {"raw", "book", "bbo", "trades", "funding", "events", "top"} == set(values["tables"])
    assert values["tables"]["raw"]["rows"] == 240


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "stale", "stream": "full", "cause": "sequence", "ts_start": TS},  # and never came back
        {"kind": "lost", "stream": "", "cause": "crash", "ts_start": TS, "ts_end": TS + 5},
        {"kind": "gap", "stream": "full", "cause": "silence", "ts_start": TS, "ts_end": TS + 5},
        {"kind": "stale", "stream": "full", "cause": "stop", "ts_start": TS},  # as was meant
    ],
    ids=["stale", "lost", "gap", "stop"],
)
def test_it_counts_the_gaps_that_the_command_of_that_name_lists(tmp_path: Path, event: dict[str, Any]) -> None:
    make_recording(tmp_path / "tape", {"events": [{"ts_recv": TS + 5} | event]})
    listed = len(json.loads(run("gaps", tmp_path / "tape", "--json").stdout))
    assert json.loads(run("info", tmp_path / "tape", "--json").stdout)["gaps"] == listed
    said = [line.split() for line in run("info", tmp_path / "tape").stdout.splitlines()]
    assert (["gaps", str(listed)] in said) is bool(listed)
    assert json.loads(run("ls", tmp_path, "--json").stdout)[0]["gaps"] == listed


def test_events_that_cannot_be_trusted_are_said_beside_what_the_manifest_says(tape: Recording, tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    shutil.copytree(tape.path, folder)
    path = folder / "events" / "000001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    told = run("info", folder)
    assert told.exit_code == 1
    assert "events/000001.parquet" in told.stderr
    assert told.stderr.count("\n") == 1
    assert ["gaps", "not", "known"] in [line.split() for line in told.stdout.splitlines()]
    values = json.loads(run("info", folder, "--json").stdout)
    assert values["gaps"] is None
    assert "events/000001.parquet" in values["problem"]
    (row,) = json.loads(run("ls", tmp_path, "--json").stdout)
    assert row["gaps"] is None
    assert "events/000001.parquet" in row["problem"]


def newer(folder: Path) -> None:
    change_fields(folder, format_version=99)


def cut_manifest(folder: Path) -> None:
    path = folder / "recording.json"
    path.write_bytes(path.read_bytes()[:200])


def without_manifest(folder: Path) -> None:
    (folder / "recording.json").unlink()


def half(folder: Path) -> None:
    for path in (*(folder / "bbo").iterdir(), *(folder / "raw").iterdir(), *(folder / "events").iterdir()):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def missing(folder: Path) -> None:
    for name in ("raw", "bbo", "events"):
        (folder / name / "000000.parquet").unlink()


def outside(folder: Path) -> None:
    manifest = read_manifest(folder)
    for table in ("raw", "bbo", "events"):
        file = manifest.segments[0].tables[table]
        manifest.segments[0].tables[table] = msgspec.structs.replace(file, path=f"../{table}.parquet")
    write_manifest(folder, manifest)


READERS = (("info",), ("replay",), ("replay", "--fidelity", "raw"), ("verify",), ("gaps",), ("analyze", "spreads"))
SAID: dict[Callable[[Path], None], str] = {
    newer: "has format version 99, this tickdeck reads up to",
    cut_manifest: "is damaged (",
    without_manifest: "is not a recording: no recording.json in it; expected a folder made by record or import",
    half: " bytes, expected ",
    missing: "is missing",
    outside: "expected a file inside the recording",
}


@pytest.mark.parametrize("damage", SAID, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_recording_that_cannot_be_read_is_one_line_for_every_command(
    tape: Recording, tmp_path: Path, damage: Callable[[Path], None], command: tuple[str, ...]
) -> None:
    """The exit code is 1; that of `verify`, which can tell damage from a folder that is none, 2 for the latter."""
    folder = Path(shutil.copytree(tape.path, tmp_path / "tape"))
    damage(folder)
    done = run(*command, folder)
    if damage in (half, missing) and command == ("verify",):
        assert done.exit_code == 1  # damaged files are a result: each of them is a line of it
        told = [line for line in done.stdout.splitlines() if line.startswith("damaged: ")]
        assert len(told) >= 3
        assert all(SAID[damage] in line for line in told)
        return
    if damage in (half, missing, outside) and command == ("info",):
        assert SAID[damage] in done.stderr  # beside what the manifest says
        assert done.exit_code == 1
        return
    assert SAID[damage] in only_error(done)
    assert done.exit_code == (2 if command == ("verify",) else 1)


@pytest.fixture(scope="module")
def minced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of twenty segments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recordings.states.seek_points.PAYLOAD_PER_BYTE", 0)
        return mixed_tape(tmp_path_factory.mktemp("info") / "minced tape", frames=100, segment_frames=5).path


def test_states_are_counted(minced: Path, tape: Recording) -> None:
    """By `info` and by `ls`, with their share of the tables; a recording without any says nothing of them."""
    files = sorted((minced / "checkpoints").iterdir())
    size = sum(path.stat().st_size for path in files)
    tables = sum(path.stat().st_size for path in minced.glob("*/*.parquet"))
    values = json.loads(run("info", minced, "--json").stdout)
    assert values["states"] == {"files": len(files), "bytes": size, "share": size / tables}
    assert f"{len(files)} files, {size:,} bytes ({size / tables:.1%} of the tables)" in run("info", minced).stdout
    assert json.loads(run("ls", minced.parent, "--json").stdout)[0]["bytes"] == tables + size
    assert json.loads(run("info", tape.path, "--json").stdout)["states"] == {"files": 0, "bytes": 0, "share": 0.0}
    assert "states" not in run("info", tape.path).stdout


def test_many_small_segments_are_said_with_the_command_that_joins_them(minced: Path, tmp_path: Path) -> None:
    """Until they are joined; few, or large ones, are as they should be."""
    folder = Path(shutil.copytree(minced, tmp_path / "minced tape"))
    why = "20 segments of 5 frames on average are small: 1 would be read faster and take less room"
    assert json.loads(run("info", folder, "--json").stdout)["small_segments"] == why
    line = f"{why}: `tickdeck compact '{folder}'`"
    assert line in " ".join(run("info", folder).stdout.split())
    assert f"minced tape: {line}" in " ".join(run("ls", tmp_path).stdout.split())
    assert json.loads(run("ls", tmp_path, "--json").stdout)[0]["small_segments"] == why
    assert run("compact", folder).exit_code == 0
    assert json.loads(run("info", folder, "--json").stdout)["small_segments"] == ""
    assert "compact" not in run("info", folder).stdout + run("ls", tmp_path).stdout
    assert json.loads(run("ls", tmp_path, "--json").stdout)[0]["small_segments"] is None


@pytest.mark.parametrize(
    ("frames", "counts", "pays"),
    [(5, 15, False), (5, 16, True), (9_999, 16, True), (10_000, 16, False), (5, 720, True)],
)
def test_compacting_pays_where_segments_are_many_and_small(
    tape: Recording, frames: int, counts: int, pays: bool
) -> None:
    segment = msgspec.structs.replace(tape.manifest.segments[0], frame_count=frames)
    assert bool(small_segments([segment] * counts)) == pays


def test_segments_that_would_not_be_joined_are_not_called_small(tape: Recording) -> None:
    """Of large frames few are as many as a segment is meant to hold."""
    first = tape.manifest.segments[0]
    raw = msgspec.structs.replace(first.tables["raw"], bytes=400 << 20)
    large = msgspec.structs.replace(first, frame_count=100, tables={**first.tables, "raw": raw})
    assert small_segments([large] * 30) == ""
