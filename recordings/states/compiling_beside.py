"""
Compiling in another process, while this one does the work without compiled code until there is some.

Compiling holds the interpreter's lock, so a thread would hold up what it is to speed up. The process compiles into a folder
of its own beside the cache; whole functions are moved from there, so no one ever reads half of one. It ends with the one
that started it, whose pipe it reads; what it had compiled by then is kept, and the next one goes on from there.

`python -m recordings.states.compiling_beside FOLDER VENUE...` is that process; FOLDER is the cache that it fills.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from recordings.format.manifest import Manifest
from recordings.format.schema import RAW_TABLE
from recordings.states.normalizer import Normalizer
from recordings.storage.child_environment import child_environment, end_with_input, module_command
from toolkit.books.tracker import OrderBookTracker
from toolkit.kernels.disk_cache import kernel_folder, note_compiled, shelf_problem, usable_folder
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

__all__ = ["BESIDE_BYTES", "CompilingBeside", "main", "note_of_compiling", "note_of_recording"]

#: Compressed frames from which on compiling is begun: less is done before a process has loaded the compiler.
BESIDE_BYTES: Final = 2 << 20
_SCRATCH: Final = "making-"


class CompilingBeside:
    """
    Gives a normalizer its compiled code: at once where it is kept on disk, later where another process compiles it.

    A context: the process does not outlive the block.

    Args:
        normalizer: Receiver of the frames.
        size: Bytes of these, compressed.
    """

    def __init__(self, normalizer: Normalizer, size: int) -> None:
        self._normalizer = normalizer
        self._size = size
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: Path | None = None
        #: Whether compiled code takes frames.
        self.is_used = False

    def __enter__(self) -> Self:
        self.is_used = self._normalizer.compile_if_kept()
        if not self.is_used and _is_worth_it(self._normalizer, self._size):
            self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    @property
    def is_coming(self) -> bool:
        """Whether it is being compiled."""
        return self._process is not None

    def look(self) -> bool:
        """Between two batches: whether compiled code takes what comes next. It does from when it is there."""
        if not self.is_used and self._is_ready():
            self._end()
            self.is_used = self._normalizer.compile_if_kept()
        return self.is_used

    def _is_ready(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _start(self) -> None:
        folder = usable_folder()
        if folder is None:
            return
        # Without a place or a process the work is done without: it is a matter of speed.
        with contextlib.suppress(OSError):
            self._scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder.parent))
            venues = [venue for venue, protocol in self._normalizer.protocols.items() if protocol.kernel_set]
            self._process = subprocess.Popen(
                module_command("recordings.states.compiling_beside", str(folder), *venues),
                env={**child_environment(), "TICKDECK_KERNELS": str(self._scratch)},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C in a terminal reaches the whole group: this process ends it then, and keeps what there is.
                start_new_session=True,
            )

    def _end(self) -> None:
        process, self._process = self._process, None
        scratch, self._scratch = self._scratch, None
        if process is not None:
            process.kill()
            if process.stdin is not None:
                process.stdin.close()
            process.wait()
        folder = usable_folder() if scratch is not None else None
        if scratch is not None and folder is not None:
            with contextlib.suppress(OSError):  # a full disk: it is compiled again
                _move_in(scratch / folder.name, folder)
            shutil.rmtree(scratch, ignore_errors=True)


def note_of_compiling(normalizer: Normalizer, size: int) -> str:
    """One line of what is about to be compiled, or why nothing is, for people; empty where nothing needs to be."""
    if normalizer.is_compiled or not normalizer.kernel_sets or size < BESIDE_BYTES:
        return ""
    if usable_folder() is None:
        return shelf_problem()
    return (
        "compiled code for this version is made in another process, once, which takes some 20 seconds; until then frames "
        "are taken without it, slower and the same"
    )


def note_of_recording(manifest: Manifest) -> str:
    """The same, of raw frames that are to be played again."""
    size = sum(segment.tables[RAW_TABLE].bytes for segment in manifest.segments if RAW_TABLE in segment.tables)
    return note_of_compiling(Normalizer.for_sources(manifest.sources), size)


def _is_worth_it(normalizer: Normalizer, size: int) -> bool:
    return bool(normalizer.kernel_sets) and size >= BESIDE_BYTES


def _move_in(made: Path, folder: Path) -> None:
    """
    Move what was compiled to where it is looked for: whole functions, and none that is there already.

    An index names the files of its function's code, so it goes last.
    """
    for index in sorted(made.rglob("*.nbi")):
        place = folder / index.relative_to(made)
        codes = sorted(index.parent.glob(f"{glob.escape(index.stem)}.*.nbc"))
        if place.exists() or not codes:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        for code in codes:
            code.replace(place.parent / code.name)
        index.replace(place)


def main(folder: str, *venues: str) -> None:
    """Compile what frames of these venues need, and fill the cache with it; end with the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(5)  # what it is compiled for goes first
    scratch = Path(os.environ["TICKDECK_KERNELS"])
    # Where the one that started it has gone nothing of it stays.
    end_with_input(lambda: shutil.rmtree(scratch, ignore_errors=True))
    _take_up(Path(folder), kernel_folder())
    sets = set()
    for venue in venues:
        protocol = find_venue(venue).make_protocol(ProtocolOptions())
        taker = protocol.columnar(OrderBookTracker(checked=True), {})
        if taker is not None:
            taker.compile()
            sets.add(protocol.kernel_set)
    from toolkit.kernels.lines import compile_lines  # loads the compiler
    from toolkit.kernels.wrapped_lines import compile_wrapped_lines

    compile_lines()
    compile_wrapped_lines()
    if kernel_folder().name == Path(folder).name:  # else another version's sources were put here meanwhile
        _move_in(kernel_folder(), Path(folder))
        for which in sorted(sets):
            note_compiled(which, Path(folder))


def _take_up(folder: Path, own: Path) -> None:
    """Begin with what another process had compiled before it was ended."""
    if own.name == folder.name:
        with contextlib.suppress(OSError):
            shutil.copytree(folder, own, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.tmp.*", "ready*"))


if __name__ == "__main__":
    main(*sys.argv[1:])
