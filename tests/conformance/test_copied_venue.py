"""
A venue is two folders and nothing else: copied under another name, it is a venue of its own.

The copy stands in a package root that is made for the test: links to everything that is here, and two folders more.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deadlines import HANG_S

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("toolkit/venues", "replay/serving/venues")
NAME = "copycat"
FOLDERS = sorted(path.name for path in (ROOT / ROOMS[0]).iterdir() if (path / "__init__.py").is_file())


def make_root(root: Path, folder: str) -> None:
    """Everything that is shipped, and the folders of one venue once more under another name."""
    _link(root, ROOT, [room.split("/") for room in ROOMS])
    for room in ROOMS:
        copy = root / room / NAME
        shutil.copytree(ROOT / room / folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for path in copy.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(folder, NAME), encoding="utf-8")


def _link(to: Path, of: Path, opened: list[list[str]]) -> None:
    """Link what is in a folder, but make those on the way to the rooms again."""
    to.mkdir(exist_ok=True)
    names = {first: [rest for head, *rest in opened if head == first] for first, *_ in opened}
    packages = ("tickdeck", "toolkit", "recordings", "replay", "analysis")
    for path in of.iterdir():
        if path.name == "__pycache__" or (of == ROOT and path.name not in packages):
            continue
        if path.name in names:
            _link(to / path.name, path, [rest for rest in names[path.name] if rest])
        else:
            (to / path.name).symlink_to(path)


def environment(root: Path) -> dict[str, str]:
    """The packages of that root; kernels that were compiled for another one are not asked for."""
    return {**os.environ, "PYTHONPATH": str(root), "TICKDECK_KERNELS": str(root / "kernels")}


@contextmanager
def command(root: Path, *args: object) -> Iterator[subprocess.Popen[str]]:
    """The command, with the packages of that root."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "toolkit.cli", *map(str, args)],
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def done(root: Path, *args: object, exit_code: int = 0) -> str:
    """What the command prints: results, or the error where one is expected."""
    with command(root, *args) as process:
        out, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == exit_code, errors
    return errors if exit_code else out


#: Records the copy from its synthetic side, replays it, serves it and records that; prints what it found.
PROGRAM = f"""
import sys
from pathlib import Path

import toolkit
from recordings.care.verifying import verify
from replay.serving.registry import synthetic_venues
from tests.conformance.sessions import recorded, recorded_from_served

folder = Path(sys.argv[1])
name = next(each for each in synthetic_venues() if each.startswith({NAME!r}))
session = recorded(name, folder / "tape")
again = recorded_from_served(session, folder / "again")
for each in ("tape", "again"):
    result = verify(folder / each)
    assert result.is_sound, result.problems
    assert result.live_digest == result.raw_digest == result.normalized_digest
print(name, {{message.venue for message in again.messages}} == {{name}}, toolkit.__file__)
"""


def test_a_copied_venue_is_recorded_replayed_and_served(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_root(root, FOLDERS[0])
    (root / "tests").symlink_to(ROOT / "tests")
    told = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(tmp_path)],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    name, is_its_own, where = told.stdout.split()
    assert name.startswith(NAME)
    assert is_its_own == "True"
    assert Path(where).is_relative_to(root)


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_copied_venue_is_one_to_every_command(folder: str, tmp_path: Path) -> None:
    """Demo, verify, serve and record, as the command line has them."""
    root, tape = tmp_path / "root", tmp_path / "tape"
    make_root(root, folder)
    unknown = done(root, "demo", "--venue", "nothing", exit_code=1)
    venue = next(each for each in unknown.replace(",", " ").split() if each.startswith(NAME))
    assert "All equal" in done(root, "demo", "--venue", venue, "--duration", "2s", "--out", tape)
    told = json.loads(done(root, "verify", tape, "--json"))
    assert told["raw_digest"] == told["normalized_digest"] == told["live_digest"]
    about = json.loads(done(root, "info", tape, "--json"))
    assert about["venues"] == [venue]
    # A busy machine may need longer than the tape is to connect and to ask: then it is played more slowly.
    assert any(
        has_books(root, venue, tape, about["pairs"], tmp_path / f"again-{seconds}", pace, seconds)
        for pace, seconds in (("0.5x", 5), ("0.1x", 30))
    )


def has_books(root: Path, venue: str, tape: Path, pairs: list[str], out: Path, pace: str, seconds: int) -> bool:
    """Serve a tape and record it from there; whether there is a book, in a sound recording."""
    with command(root, "serve", tape, "--port", "0", "--json", "--speed", pace) as server:
        assert server.stdout is not None
        place = json.loads(server.stdout.readline())["venues"][venue]
        urls = ("--ws-url", place["ws_url"], "--rest-url", place["rest_url"])
        done(root, "record", venue, *pairs, *urls, "--duration", f"{seconds}s", "--out", out)
    done(root, "verify", out)
    return "book_snapshots" in json.loads(done(root, "info", out, "--json"))["counts"]
