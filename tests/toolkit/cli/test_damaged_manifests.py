"""A manifest that no program could have written: one line from every command, and `ls` goes on with the others."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manifests import change_fields, without_checksum
from tests.tapes import mixed_tape
from tests.toolkit.cli.terminal import only_error, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recordings.states.seek_points.PAYLOAD_PER_BYTE", 0)
        return mixed_tape(tmp_path_factory.mktemp("made") / "tape").path


def manifest(folder: Path) -> Path:
    return folder / "recording.json"


def no_utf8(folder: Path) -> None:
    manifest(folder).write_bytes(manifest(folder).read_bytes().replace(b"hyperliquid", b"hyper\xff\xfequid"))


def no_utf8_unchecked(folder: Path) -> None:
    without_checksum(folder)
    no_utf8(folder)


def nested(folder: Path) -> None:
    manifest(folder).write_bytes(manifest(folder).read_bytes()[:-3] + b',"x":' + b"[" * 200_000)


def nested_unchecked(folder: Path) -> None:
    without_checksum(folder, x=1)
    content = manifest(folder).read_bytes()
    manifest(folder).write_bytes(content.replace(b'"x":1', b'"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000))


def pipe(folder: Path) -> None:
    manifest(folder).unlink()
    os.mkfifo(manifest(folder))


def huge_times(folder: Path) -> None:
    change_fields(folder, created_ns=1 << 80)


def negative_rows(folder: Path) -> None:
    content = json.loads(manifest(folder).read_bytes())
    content["segments"][0]["tables"]["bbo"]["rows"] = -5
    change_fields(folder, segments=content["segments"])


def huge_counts(folder: Path) -> None:
    content = json.loads(manifest(folder).read_bytes())
    for segment in content["segments"]:
        segment["frame_count"] = (1 << 62) + 1
    without_checksum(folder, segments=content["segments"])


def one_bit(folder: Path) -> None:
    content = manifest(folder).read_bytes()
    manifest(folder).write_bytes(content.replace(b'"segments"', b'"segmentr"'))


def one_bit_unchecked(folder: Path) -> None:
    without_checksum(folder)
    one_bit(folder)


def empty(folder: Path) -> None:
    manifest(folder).write_bytes(b"")


DAMAGES = (
    no_utf8,
    no_utf8_unchecked,
    nested,
    nested_unchecked,
    pipe,
    huge_times,
    negative_rows,
    huge_counts,
    one_bit,
    one_bit_unchecked,
    empty,
)
COMMANDS = (
    ("info",),
    ("verify",),
    ("replay",),
    ("gaps",),
    ("analyze", "spreads"),
    ("analyze", "orders"),
    ("serve", "--exit"),
    ("follow",),
    ("recover",),
    ("renormalize",),
    ("compact",),
    ("prune", "--keep-raw-days", "1"),
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_one_line_from_every_command(made: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "tape"))
    damage(folder)
    before = sorted(path for path in folder.rglob("*") if path.name != "recording.lock")
    for command in COMMANDS:
        assert str(folder) in only_error(run(*command, folder)), command
    assert "recording.json" in only_error(run("sql", folder, "SELECT 1"))
    assert sorted(path for path in folder.rglob("*") if path.name != "recording.lock") == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_one_bad_recording_does_not_end_the_list(made: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    for name in ("a", "b", "c"):
        shutil.copytree(made, tmp_path / name)
    damage(tmp_path / "b")
    done = run("ls", tmp_path, "--json")
    assert done.exit_code == 0
    rows = json.loads(done.stdout)
    assert [(row["recording"], row["frames"], row["problem"] is None) for row in rows] == [
        ("a", 240, True),
        ("b", None, False),
        ("c", 240, True),
    ]


@pytest.mark.parametrize("place", ["raw/000000.parquet", "bbo/000001.parquet", "checkpoints/000001.state"])
@pytest.mark.parametrize("what", ["pipe", "folder", "device"])
def test_something_else_in_the_place_of_a_file_is_not_waited_for(
    made: Path, tmp_path: Path, place: str, what: str
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "tape"))
    (folder / place).unlink()
    if what == "pipe":
        os.mkfifo(folder / place)
    elif what == "folder":
        (folder / place).mkdir()
    else:
        (folder / place).symlink_to("/dev/zero")
    done = run("verify", folder)
    assert done.exit_code in (1, 2)
    for command in (
        ("replay",),
        ("replay", "--fidelity", "raw"),
        ("replay", "--from", "2026-07-25T17:20:00.12345689Z"),
    ):
        done = run(*command, folder)
        assert done.exit_code in (0, 1)
        if done.exit_code:
            assert "Error: " in done.stderr
    for command in (("compact",), ("renormalize",), ("recover",)):
        run(*command, folder)


def test_a_pipe_in_the_place_of_a_journal_or_a_tee_is_not_waited_for(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "tape"))
    (folder / "journal").mkdir(exist_ok=True)
    os.mkfifo(folder / "journal" / "000003.arrows")
    os.mkfifo(folder / "tee.json")
    told = run("info", folder)
    assert (told.exit_code, "frames" in told.stdout) == (1, True)
    assert told.stderr.endswith("journal/000003.arrows cannot be read: it is no regular file\n")
    assert run("verify", folder).exit_code == 1
    done = run("follow", folder, "--patience", "1ms")
    assert "cannot be read: it is no regular file" in done.stderr
    only_error(run("recover", folder))


def test_paths_that_are_none_are_one_line(made: Path) -> None:
    for name in ("x" * 5000, "tapes/" + "y/" * 3000):
        for command in COMMANDS:
            done = run(*command, name)
            assert done.exit_code != 0
            assert "Traceback" not in done.stderr
            assert len(done.stderr.splitlines()) <= 4  # usage comes in several


def test_a_name_that_is_no_utf8_is_listed_and_said(made: Path, tmp_path: Path) -> None:
    os.rename(shutil.copytree(made, tmp_path / "plain"), os.fsencode(tmp_path) + b"/\xff\xfe")  # noqa: PTH104
    done = run("ls", tmp_path, "--json")
    assert done.exit_code == 0
    (row,) = json.loads(done.stdout)
    assert row["recording"] == "\\xff\\xfe"
    assert row["problem"].endswith("\\xff\\xfe has a path that is no UTF-8, which Arrow cannot open: rename it")
    for command in COMMANDS:
        assert "rename it" in only_error(run(*command, tmp_path / os.fsdecode(b"\xff\xfe")))
