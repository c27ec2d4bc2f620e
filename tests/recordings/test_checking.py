"""No reader answers from a file that is not the one that was sealed, and no file is hashed twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import analysis
from recordings import checking
from recordings.checking import checked_path, file_problem, open_checked, read_checked, set_checks
from recordings.format.manifest import TableFile
from recordings.queries.gaps import find_gaps
from recordings.reading.growing import GrowingRecording
from recordings.recording import Recording
from recordings.storage.sealed_files import LocalFile
from replay.source import ReplayDataSource
from tests.tapes import mixed_tape
from tests.toolkit.cli.terminal import only_error, run
from toolkit.errors import RecordingDamaged


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_tape(tmp_path_factory.mktemp("sound") / "tape").path


@pytest.fixture
def tape(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "tape"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[int]]:
    """Every hash that is computed, with a cache of its own, and files that settle at once."""
    found: list[int] = []
    compute = LocalFile.hash

    def counted(file: LocalFile) -> str:
        found.append(file.state().size)
        return compute(file)

    monkeypatch.setattr(LocalFile, "hash", counted)
    monkeypatch.setattr(checking, "FRESH_NS", -1)
    monkeypatch.setenv("TICKDECK_CHECKS", str(tmp_path / "cache"))
    checking.memory.forget()
    yield found
    checking.memory.forget()


def flip(path: Path) -> None:
    """A bit that no checksum but the file's hash covers: of the footer, in place, the times of the file set back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size - 12)
        byte = file.read(1)
        file.seek(before.st_size - 12)
        file.write(bytes((byte[0] ^ 1,)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def entry(folder: Path, table: str) -> TableFile:
    return Recording.open(folder).manifest.segments[0].tables[table]


def test_a_file_is_hashed_once_for_each_state(tape: Path, hashed: list[int]) -> None:
    """In this process, and in the next one."""
    file = entry(tape, "bbo")
    for _ in range(3):
        assert checked_path(tape, file) == tape.resolve() / file.path
    assert hashed == [file.bytes]
    checking.memory.save()
    checking.memory.forget()
    checked_path(tape, file)
    assert hashed == [file.bytes]
    os.utime(tape / file.path)
    checked_path(tape, file)
    assert hashed == [file.bytes] * 2


@pytest.mark.parametrize("read", [checked_path, open_checked, read_checked])
def test_a_bit_that_changes_in_place_is_seen_also_where_the_time_of_change_is_set_back(
    tape: Path, hashed: list[int], read: Callable[[Path, TableFile], Any]
) -> None:
    file = entry(tape, "bbo")
    read(tape, file)
    flip(tape / file.path)
    with pytest.raises(
        RecordingDamaged, match=r"bbo/000000\.parquet is not the file that was sealed: its BLAKE2b hash"
    ):
        read(tape, file)
    flip(tape / file.path)
    read(tape, file)


def test_what_was_changed_a_moment_ago_is_not_remembered(tape: Path, hashed: list[int], monkeypatch: Any) -> None:
    """It may be changed again before the file system's clock has moved on."""
    monkeypatch.setattr(checking, "FRESH_NS", 10**18)
    file = entry(tape, "bbo")
    checked_path(tape, file)
    checked_path(tape, file)
    assert len(hashed) == 2


def test_a_cache_that_cannot_be_used_is_passed_over(tape: Path, hashed: list[int], monkeypatch: Any) -> None:
    """Damaged, not readable, not writable, or nobody's home: hashes are computed again, and nothing is said."""
    file = entry(tape, "bbo")
    checked_path(tape, file)
    checking.memory.save()
    (kept,) = Path(os.environ["TICKDECK_CHECKS"]).rglob("*[0-9a-f]")
    whole = kept.read_bytes()
    for content in (b"", whole[:-1], bytes((whole[0] ^ 1,)) + whole[1:], whole[:-1] + bytes((whole[-1] ^ 1,))):
        kept.write_bytes(content)
        checking.memory.forget()
        hashed.clear()
        checked_path(tape, file)
        assert len(hashed) == 1
    for place in ("/proc/none", "/dev/null", str(kept)):
        monkeypatch.setenv("TICKDECK_CHECKS", place)
        checking.memory.forget()
        checked_path(tape, file)
        checking.memory.save()
    monkeypatch.delenv("TICKDECK_CHECKS")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/none")
    checking.memory.forget()
    checked_path(tape, file)
    checking.memory.save()


def test_processes_share_the_cache_and_add_to_it(tape: Path, hashed: list[int]) -> None:
    """Two that end at about the same time: each keeps what the other has written."""
    first, second = entry(tape, "bbo"), entry(tape, "trades")
    code = "import sys; from pathlib import Path; from recordings.recording import Recording\n"
    code += "Recording.open(Path(sys.argv[1])).files('trades')"
    checked_path(tape, first)
    os.utime(tape / second.path, ns=(0, 0))
    subprocess.run([sys.executable, "-c", code, str(tape)], check=True)
    checking.memory.save()
    checking.memory.forget()
    hashed.clear()
    checked_path(tape, first)
    assert hashed == []
    known = checking._load(tape.resolve())
    assert first.path in known


def test_recordings_that_are_gone_do_not_fill_the_cache(tape: Path, hashed: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(checking, "RECORDINGS_MAX", 4)
    for number in range(8):
        folder = Path(shutil.copytree(tape, tape.parent / f"copy-{number}"))
        checked_path(folder, entry(folder, "bbo"))
        checking.memory.save()
    assert len(list((Path(os.environ["TICKDECK_CHECKS"]) / "checks").iterdir())) <= 4


def test_verify_always_computes(tape: Path, hashed: list[int]) -> None:
    file = entry(tape, "bbo")
    checked_path(tape, file)
    assert file_problem(tape, file) == ""
    assert len(hashed) == 2
    set_checks(False)
    try:
        flip(tape / file.path)
        checked_path(tape, file)
        assert file_problem(tape, file) == "is not the file that was sealed: its BLAKE2b hash differs"
    finally:
        set_checks(True)


@pytest.mark.parametrize("damage", ["pipe", "folder", "missing", "longer", "link"])
def test_what_is_no_file_of_the_recording_is_one_line(tape: Path, damage: str) -> None:
    file = entry(tape, "bbo")
    path = tape / file.path
    content = path.read_bytes()
    path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    elif damage == "folder":
        path.mkdir()
    elif damage == "longer":
        path.write_bytes(content + b"\0")
    elif damage == "link":
        path.symlink_to("/dev/zero")
    for read in (checked_path, open_checked, read_checked):
        with pytest.raises(RecordingDamaged) as caught:
            read(tape, file)
        assert "\n" not in str(caught.value)


def test_what_is_open_is_read_to_its_end_whatever_its_name_becomes(tape: Path) -> None:
    """A compaction moves another file into its place, or takes it away."""
    file = entry(tape, "bbo")
    content = (tape / file.path).read_bytes()
    opened = open_checked(tape, file)
    (tape / file.path).unlink()
    (tape / file.path).write_bytes(b"another")
    assert opened.read() == content


def _read_raw(folder: Path) -> object:
    return list(Recording.open(folder).raw_frames())


def _follow(folder: Path) -> object:
    return list(GrowingRecording(folder).read())


def _replay(folder: Path, fidelity: Any) -> None:
    ReplayDataSource(Recording.open(folder), fidelity=fidelity).play()


def _sql(folder: Path) -> object:
    with analysis.connect(folder) as connection:
        return connection.sql("SELECT count(*) FROM book").fetchall()


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "raw frames": ("raw", _read_raw),
    "messages": ("trades", lambda folder: list(Recording.open(folder).messages())),
    "a growing recording": ("raw", _follow),
    "a raw replay": ("raw", lambda folder: _replay(folder, "raw")),
    "a normalized replay": ("book", lambda folder: _replay(folder, "normalized")),
    "Polars": ("funding", lambda folder: analysis.scan(folder, "funding").collect()),
    "DuckDB": ("book", _sql),
    "spreads": ("top", lambda folder: analysis.spreads(analysis.scan(folder, "top"))),
    "a window of spreads": ("top", lambda folder: analysis.spread_window(folder).report()),
    "gaps": ("events", find_gaps),
    "the info of the recording's pairs": ("raw", lambda folder: Recording.open(folder).files("raw")),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_a_damaged_file(tape: Path, name: str) -> None:
    table, read = READERS[name]
    read(tape)
    path = sorted((tape / table).iterdir())[-1]
    flip(path)
    with pytest.raises(RecordingDamaged, match=rf"{path.name} is not the file that was sealed"):
        read(tape)


@pytest.mark.parametrize(
    ("table", "command"),
    [
        ("raw", ("replay", "--fidelity", "raw")),
        ("trades", ("replay",)),
        ("events", ("gaps",)),
        ("top", ("analyze", "spreads")),
        ("raw", ("serve", "--exit", "--no-wait")),
    ],
)
def test_every_command_refuses_a_damaged_file(tape: Path, table: str, command: tuple[str, ...]) -> None:
    path = sorted((tape / table).iterdir())[0]
    flip(path)
    assert "is not the file that was sealed: its BLAKE2b hash differs" in only_error(run(*command, tape))


def test_a_query_is_held_to_the_tables_that_it_reads(tape: Path) -> None:
    """Hashing all of a recording for one small table would take long."""
    flip(tape / "bbo" / "000001.parquet")
    assert run("sql", tape, "SELECT count(*) FROM trades").exit_code == 0
    assert run("sql", tape).exit_code == 0
    for query in (
        "SELECT count(*) FROM bbo",
        "SELECT 1 FROM trades WHERE (SELECT count(*) FROM BBO) > 0",
        "WITH x AS (SELECT * FROM bbo) SELECT count(*) FROM x",
        "SELECT count(*) FROM query('SELECT * FROM bbo')",
        "CREATE TABLE x AS SELECT * FROM bbo; SELECT count(*) FROM x",
    ):
        assert "is not the file that was sealed" in only_error(run("sql", tape, query))
    flip(tape / "top" / "000001.parquet")
    assert "top/000001.parquet is not" in only_error(run("sql", tape, "SELECT count(*) FROM quotes"))


def test_whoever_wants_the_damaged_file_may_have_it(tape: Path) -> None:
    """Its pages are checked still, and what Arrow, Polars and DuckDB find wrong they say."""
    path = tape / "trades" / "000000.parquet"
    rows = pl.read_parquet(path)
    rows.write_parquet(path)
    assert "expected" in only_error(run("sql", tape, "SELECT count(*) FROM trades"))
    assert run("sql", "--no-check", tape, "SELECT count(*) FROM trades").exit_code == 0
    assert "expected" in only_error(run("sql", tape, "SELECT count(*) FROM trades"))
