"""Compiling in another process: what is written is the same whenever compiled code takes over, and nothing stays of it."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest

from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.format.parquet_options import FAST
from recordings.importing import line_blocks
from recordings.importing.importer import ImportOptions, import_capture, note_before
from recordings.states import compiling_beside
from recordings.states.compiling_beside import BESIDE_BYTES, CompilingBeside, note_of_compiling
from recordings.states.normalizer import Normalizer
from recordings.storage.child_environment import child_environment
from tests.fuzz.frames import session
from tests.fuzz.mutations import mutated
from tests.toolkit.kernels.test_disk_cache import cannot_write, place
from toolkit.kernels import disk_cache
from toolkit.kernels.lines import compile_lines
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

__all__ = ["place"]

HOW = ImportOptions(venue="binance-usdm", line_format="collector", compression=FAST, threads=False, segment_frames=300)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class OtherProcess:
    """In place of the process that compiles: it is at its end, and the cache is filled, when it is asked for the nth time."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.is_over = False
        self.stdin = None

    def poll(self) -> int | None:
        if self.left:
            self.left -= 1
            return None
        for which in normalizer().kernel_sets:
            disk_cache.note_compiled(which)
        self.is_over = True
        return 0

    def kill(self) -> None:
        """It is a process no more."""

    def wait(self) -> int:
        return 0


@contextmanager
def taking_over(after: int) -> Iterator[OtherProcess]:
    """Within the block nothing is compiled until the nth border of batches; to be used where the cache is of the test."""
    other = OtherProcess(after)
    for which in normalizer().kernel_sets:
        (disk_cache.kernel_folder() / which).unlink(missing_ok=True)
    with patch.object(compiling_beside, "BESIDE_BYTES", 0), patch.object(subprocess, "Popen", lambda *_, **__: other):
        yield other


@pytest.fixture(scope="module")
def _compiled() -> None:
    """Kernels of this process are kept where they always are: tests that have a place of their own come after."""
    normalizer().compile()
    compile_lines()


@pytest.fixture(scope="module")
def capture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of two markets, some frames of which are changed: gaps, other kinds, damage."""
    for number in range(100):
        rng = random.Random(f"beside {number}")
        tape = session(rng, 900)
        if tape.venue == HOW.venue:
            break
    lines = [b"%d %s" % (frame.ts_recv, frame.payload) for frame in mutated(random.Random(1), tape.frames)]
    path = tmp_path_factory.mktemp("beside") / "lines"
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.fixture(scope="module")
def expected(capture_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("plain") / "tape"
    import_capture([capture_file], folder, msgspec.structs.replace(HOW, compiled=False))
    return contents(folder)


@pytest.mark.usefixtures("_compiled", "place")
def test_compiled_code_is_used_from_when_it_is_there() -> None:
    with taking_over(2), CompilingBeside(normalizer(), 1) as beside:
        assert beside.is_coming
        assert [beside.look() for _ in range(4)] == [False, False, True, True]
        assert not beside.is_coming


@pytest.mark.usefixtures("_compiled", "place")
def test_an_import_is_the_same_at_whichever_border_compiled_code_takes_over(
    capture_file: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """The frame-by-frame import is the reference; the last time it never takes over."""
    borders = 5
    taken_over = []
    with patch.object(line_blocks, "BLOCK_BYTES", capture_file.stat().st_size // (borders - 2)):
        for after in range(borders):
            folder = tmp_path / str(after)
            with taking_over(after) as other, patch.object(line_blocks, "BLOCK_LINES", 1):
                import_capture([capture_file], folder, HOW)
            assert contents(folder) == expected, after
            taken_over.append(other.is_over)
    assert taken_over == [True] * (borders - 1) + [False]


@pytest.mark.usefixtures("_compiled", "place")
def test_care_is_the_same_whenever_compiled_code_takes_over(capture_file: Path, tmp_path: Path) -> None:
    """In the middle of a recording, and of a segment: `verify` finds it sound, `renormalize` makes the same files."""
    folder = tmp_path / "tape"
    import_capture([capture_file], folder, msgspec.structs.replace(HOW, compiled=False))
    made, taken_over = [], []
    for after in (0, 2, 99):
        with taking_over(after) as other, patch("recordings.care.remade_segments.WIDE_BATCH", 130):
            copy = Path(shutil.copytree(folder, tmp_path / str(after)))
            renormalize(copy)
        made.append(contents(copy))
        taken_over.append(other.is_over)
        with taking_over(after) as other, patch.multiple("recordings.care.raw_replay", WIDE_BATCH=130, RAW_BATCH=130):
            assert verify(folder).problems == []
        taken_over.append(other.is_over)
    assert all(each == made[0] for each in made)
    assert taken_over == [True, True, True, True, False, False]


# -- the other process -------------------------------------------------------------------------------------------------


def normalizer() -> Normalizer:
    return Normalizer({HOW.venue: find_venue(HOW.venue).make_protocol(ProtocolOptions())})


@pytest.mark.slow
def test_the_process_fills_the_cache_and_leaves_nothing_else(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What it compiled is all that an import needs: a process that comes after compiles nothing more."""
    with CompilingBeside(normalizer(), BESIDE_BYTES) as beside:
        process = beside._process
        assert process is not None
        assert process.wait() == 0
        assert beside.look()
    assert [path.name for path in place.iterdir()] == [disk_cache.kernel_folder().name]
    kept = {path.name for path in place.rglob("*") if path.is_file()}
    assert not [name for name in kept if ".tmp." in name]
    assert capfd.readouterr() == ("", "")
    script = "import sys; from recordings.importing.importer import *; from pathlib import Path\n"
    script += f"import_capture([Path(sys.argv[1])], Path(sys.argv[2]), {HOW!r})"
    lines = place.parent / "lines"
    tape = session(random.Random("beside 1"), 300)
    lines.write_bytes(b"".join(b"%d %s\n" % (frame.ts_recv, frame.payload) for frame in tape.frames))
    command = [sys.executable, "-c", script.replace("binance-usdm", tape.venue), str(lines), str(place.parent / "tape")]
    imports = "from recordings.format.parquet_options import *\n"
    command[2] = imports + command[2]
    subprocess.run(command, check=True, env=child_environment())
    assert {path.name for path in place.rglob("*") if path.is_file()} == kept


def test_what_was_compiled_is_kept_when_the_import_ends_before(place: Path) -> None:
    """Whole functions: an index that names code which is not there is left, as is what was being written."""
    folder = disk_cache.kernel_folder()
    with CompilingBeside(normalizer(), BESIDE_BYTES) as beside:
        process, scratch = beside._process, beside._scratch
        assert process is not None
        assert scratch is not None
        made = scratch / folder.name / "kernels_1"
        made.mkdir(parents=True, exist_ok=True)
        for name in ("a-1.py311.nbi", "a-1.py311.1.nbc", "b-2.py311.nbi", "c-3.py311.1.nbc", "d-4.py311.nbi.tmp.1"):
            (made / name).write_text(name)
    assert process.poll() is not None
    assert sorted(path.name for path in folder.rglob("*") if "-" in path.name) == ["a-1.py311.1.nbc", "a-1.py311.nbi"]
    assert not scratch.exists()
    assert not beside.is_used


def test_what_is_in_the_cache_is_not_replaced(tmp_path: Path) -> None:
    """Another process may be running the code of an index that is there."""
    for name in ("a-1.nbi", "a-1.1.nbc"):
        for folder in (tmp_path / "made", tmp_path / "kept"):
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(folder.name)
    compiling_beside._move_in(tmp_path / "made", tmp_path / "kept")
    assert [path.read_text() for path in sorted((tmp_path / "kept").iterdir())] == ["kept", "kept"]


def test_the_process_ends_with_the_one_that_started_it(place: Path) -> None:
    """Killed, that closes the pipe; nothing that was compiled so far stays beside the cache."""
    scratch = place / "making-0"
    scratch.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "recordings.states.compiling_beside", str(place / "folder"), HOW.venue],
        env={**child_environment(), "TICKDECK_KERNELS": str(scratch)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == 1
    assert process.stdout is not None
    assert process.stdout.read() == b""
    process.stdout.close()
    assert not scratch.exists()


@pytest.fixture
def started() -> Iterator[list[object]]:
    """The processes that are started."""
    found: list[object] = []
    with patch.object(subprocess, "Popen", lambda *arguments, **_: found.append(arguments)):
        yield found


def test_without_a_place_no_process_is_started_and_one_line_says_why(
    place: Path, monkeypatch: pytest.MonkeyPatch, started: list[object]
) -> None:
    cannot_write(monkeypatch, nowhere=True)
    note = note_before(HOW, BESIDE_BYTES)
    assert note == (
        f"compiled code has no place: {disk_cache.kernel_folder()} cannot be written (Read-only file system); the work is "
        "done without it, slower and the same"
    )
    with CompilingBeside(normalizer(), BESIDE_BYTES) as beside:
        assert not beside.look()
    assert started == []


@pytest.mark.parametrize(("size", "compiled"), [(BESIDE_BYTES - 1, None), (BESIDE_BYTES, False)])
def test_nothing_is_compiled_for_little_or_where_it_is_not_wanted(
    place: Path, started: list[object], capture_file: Path, tmp_path: Path, size: int, compiled: bool | None
) -> None:
    options = msgspec.structs.replace(HOW, compiled=compiled)
    assert note_before(options, size) == ""
    import_capture([capture_file], tmp_path / "tape", options)
    assert started == []


def test_a_venue_without_compiled_code_starts_no_process(place: Path, started: list[object]) -> None:
    other = Normalizer({"dydx_v4": find_venue("dydx_v4").make_protocol(ProtocolOptions())})
    with CompilingBeside(other, BESIDE_BYTES) as beside:
        assert not beside.look()
    assert (started, note_of_compiling(other, BESIDE_BYTES)) == ([], "")


def test_what_is_about_to_be_compiled_is_said(place: Path) -> None:
    assert note_before(HOW, BESIDE_BYTES) == (
        "compiled code for this version is made in another process, once, which takes some 20 seconds; until then frames "
        "are taken without it, slower and the same"
    )
    disk_cache.note_compiled()
    assert note_before(HOW, BESIDE_BYTES) == ""
