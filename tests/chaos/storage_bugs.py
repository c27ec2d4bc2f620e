"""
`python -m tests.chaos.storage_bugs 2000 7`: faults that storage once had, put back one after the other, and after how many
sequences the storage machine finds each. What follows the seed picks some of them by a part of their names.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pyarrow.parquet as pq

from recordings import checking, recorder
from recordings.care import compacting, pruning, recovery, remade_segments, rewriting, verifying
from recordings.care.raw_replay import RawReplay
from recordings.checking import file_problem
from recordings.format.file_names import FILE_FOLDERS, files_of
from recordings.format.manifest import TableFile, inside, read_manifest
from recordings.importing import importer as importing
from recordings.journal import journal_writer as journal_writing
from recordings.journal.journal_reader import journal_segments
from recordings.journal.journal_writer import JournalWriter
from recordings.reading import loss
from recordings.storage import atomic_files as files
from recordings.storage import lock_holder as lock_state
from recordings.writing.recording_session import RecordingSession
from recordings.writing.sealing_queue import SealingQueue
from tests.chaos.storage_machine import hunt
from tests.models.machine import Bug, replaced

__all__ = ["BUGS"]

_Context = contextlib.AbstractContextManager[None]


@contextlib.contextmanager
def _all(*contexts: _Context) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


def _edited(owner: Any, name: str, *changes: tuple[str, str]) -> _Context:
    """A function of a module or class with other text in it, which has to be there, also for those who imported it."""
    function = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        assert old in source, f"{name} no longer says {old!r}"
        source = source.replace(old, new)
    module = sys.modules[function.__module__]
    found: dict[str, Any] = {}
    exec(compile(f"from __future__ import annotations\n{source}", f"<{name}>", "exec"), module.__dict__, found)  # noqa: S102
    return replaced(function, "__code__", inspect.unwrap(found[name]).__code__)


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


def _forgets_pending_rewrites() -> _Context:
    return _all(
        replaced(recovery, "is_rewrite_pending", lambda _: False),
        replaced(recovery, "finish_rewrite", lambda _: False),
        replaced(rewriting, "_same", lambda *_: True),
    )


def _drops_what_was_committed() -> _Context:
    changes = ("if not (rewrite.staging / MANIFEST_NAME).is_file():", "if True:")
    # New files had the names of old ones by then.
    return _all(_edited(rewriting, "rewriting", changes), replaced(rewriting, "unused_serial", lambda *_: 0))


def _takes_imports_for_crashes() -> _Context:
    return _edited(loss, "_cut_since", ('is_cut = manifest.status == "running" and ', "is_cut = "))


def _reads_what_nothing_vouches_for() -> _Context:
    def paths(folder: Path, some: Any) -> list[Path]:
        return [inside(folder, file.path) for file in some]

    def unchecked(path: Any, **options: Any) -> Any:
        return pq.ParquetFile(path, **options | {"page_checksum_verification": False})

    lax = SimpleNamespace(ParquetFile=unchecked, read_schema=pq.read_schema)
    return _all(
        replaced(compacting, "pq", lax),
        replaced(compacting, "opened", lambda path, words: unchecked(path, read_dictionary=words)),
        replaced(compacting, "vouched", paths),
        replaced(pruning, "vouched", paths),
        replaced(remade_segments, "vouched", paths),
    )


def _removes_all_in_its_folders() -> _Context:
    finish = rewriting.finish_rewrite

    def finish_and_sweep(folder: Path) -> bool:
        is_done = finish(folder)
        named = {file.path for file in files_of(read_manifest(folder))} if is_done else set()
        for place in FILE_FOLDERS if is_done else ():
            for path in (folder / place).glob("*"):
                if path.is_file() and path.relative_to(folder).as_posix() not in named:
                    path.unlink()
        return is_done

    return replaced(rewriting, "finish_rewrite", finish_and_sweep)


def _swallows_what_is_no_oserror() -> _Context:
    fail = JournalWriter._fail

    def lax(self: JournalWriter, exc: BaseException) -> None:
        if isinstance(exc, OSError):
            fail(self, exc)

    return replaced(JournalWriter, "_fail", lax)


def _hands_over_in_two_threads() -> _Context:
    def settle(self: JournalWriter) -> bool:
        self.drain()
        return self.sync()

    def hand_over(self: JournalWriter) -> None:
        some, size = self._frames, self._frame_bytes
        if some:
            self._frames, self._frame_bytes = [], 0
            self._handed_count += len(some)
            self._handed_bytes += size
            self._last = self._thread.submit(self._write_batch, some, size)

    return _all(replaced(JournalWriter, "settle", settle), replaced(JournalWriter, "_hand_over", hand_over))


_IS_SHORT: Final = "not manifest.segments or manifest.segments[-1].capture_seq_last + 1 < self.capture.next_seq"


def _only_logs_a_failed_end() -> _Context:
    async def close_last(self: RecordingSession) -> None:
        closed = self.journals.close()
        if closed is not None:
            self.queue.add(closed)
        with contextlib.suppress(Exception):
            await self.journals.finished()

    return _all(
        replaced(RecordingSession, "_close_last", close_last),
        _edited(SealingQueue, "_is_finished", ("return False\n", "pass\n")),
        _edited(
            RecordingSession,
            "finish",
            ("if live_digest is None or refused", "if refused"),
            (f"if is_short := {_IS_SHORT}:", "if is_short := False:"),
        ),
    )


def _uses_names_again() -> _Context:
    return _all(
        replaced(rewriting, "unused_serial", lambda *_: 0),
        replaced(checking, "_is_on", False),
        replaced(compacting, "vouched", lambda folder, some: [inside(folder, file.path) for file in some]),
    )


def _leaves_sealed_journals() -> _Context:
    def unsealed(folder: Path) -> list[int]:
        return [number for number in journal_segments(folder) if number >= len(read_manifest(folder).segments)]

    return _all(
        replaced(rewriting, "drop_sealed_journals", _nothing), replaced(rewriting, "journal_segments", unsealed)
    )


def _imports_without_a_lock() -> _Context:
    return _all(
        replaced(importing, "FolderLock", lambda _: contextlib.nullcontext()),
        _edited(importing, "_check_empty", ("path.name != LOCK_NAME", 'path.name == "recording.json"')),
    )


def _syncs_only(wants: Callable[[Path], bool]) -> _Context:
    """Of what is written whole or not at all, what is at such paths."""
    sync = files.sync_handle

    def lax(handle: int) -> bool:
        return sync(handle) if wants(Path(f"/proc/self/fd/{handle}").readlink()) else True

    return replaced(files, "sync_handle", lax)


def _syncs_no_file() -> _Context:
    return _syncs_only(Path.is_dir)


def _syncs_no_state() -> _Context:
    return _syncs_only(lambda path: path.is_dir() or path.parent.name != "checkpoints")


def _syncs_no_journal_folder() -> _Context:
    def made(path: Path) -> None:
        path.mkdir(exist_ok=True)

    return _all(
        replaced(journal_writing, "make_folder", made), replaced(journal_writing, "sync_folder", lambda _: True)
    )


def _syncs_no_parent() -> _Context:
    def made(path: Path, **_: Any) -> None:
        path.mkdir(parents=True, exist_ok=True)

    return replaced(recorder, "make_folder", made)


def _does_not_miss_a_state() -> _Context:
    problem = file_problem

    def lax(folder: Path, file: TableFile) -> str:
        resume = read_manifest(folder).resume
        return "" if resume is not None and resume.path == file.path else problem(folder, file)

    return _all(replaced(verifying, "file_problem", lax), replaced(RawReplay, "_compare_resume", _nothing))


BUGS: Final = (
    Bug("A1: recording goes on behind a rewrite that is still to be finished", _forgets_pending_rewrites),
    Bug("A2: a committed rewrite is dropped when it is interrupted", _drops_what_was_committed),
    Bug("A3: an import counts as a crash", _takes_imports_for_crashes),
    Bug("A4: damage is rewritten as if it were sound", _reads_what_nothing_vouches_for),
    Bug("A5: files of others are removed", _removes_all_in_its_folders),
    Bug("A6: a batch that memory had no room for is passed over", _swallows_what_is_no_oserror),
    Bug("A7: a sync hands over frames while the loop does", _hands_over_in_two_threads),
    Bug("A8: a failed write at the end is only logged", _only_logs_a_failed_end),
    Bug("A9: new files take the names of old ones", _uses_names_again),
    Bug("A10: a leftover journal is counted by its number", _leaves_sealed_journals),
    Bug("A10: two imports into one folder", _imports_without_a_lock),
    Bug("A11: files take their names before they are synced", _syncs_no_file),
    Bug("A11: states are not synced", _syncs_no_state),
    Bug("A11: the journal's folder is not synced", _syncs_no_journal_folder),
    Bug("A11: the recording's own folder is not synced", _syncs_no_parent),
    Bug("A12: a missing state is no damage", _does_not_miss_a_state),
    Bug("A12: who holds a lock is told by its number", lambda: replaced(lock_state, "holder_of", lock_state._named)),
    Bug(
        "A12: an empty journal between others cannot be healed",
        lambda: _edited(recovery, "_recover", ("target = len(manifest.segments)", "target = number")),
    ),
    Bug(
        "A12: what a killed rewrite left is in the way of the next",
        lambda: _edited(
            rewriting, "sealed_manifest", ("temporary_path(folder / MANIFEST_NAME).unlink(missing_ok=True)", "pass")
        ),
    ),
)


def main(limit: int, seed: int, *only: str) -> int:
    """How many of them are not found; `only` those whose names contain one of these, if any are given."""
    missed = 0
    for bug in BUGS:
        if not only or any(part in bug.name for part in only):
            with bug.put_back():
                found, why = hunt(limit, seed)
            missed += not found
            print(f"{found or 'not':>6} of {limit}  {bug.name}  {why[:160]}", flush=True)  # noqa: T201
    return missed


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]), 1))
