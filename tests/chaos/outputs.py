"""Commands that write a result, on disks that refuse: one line, exit 1, and neither half a file nor one that is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.chaos import truth
from tests.chaos.bench import DEADLINE_S, ROOT, Mount, check, cli
from tests.chaos.disks import fill
from tests.tapes import TS, book_frame, collector_line, import_files, mixed_tape

QUERY: Final = "SELECT * FROM raw, generate_series(20)"
#: Commands that write a file, or a folder: `{tape}` is a recording, `{out}` where to.
WRITERS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "sql to CSV": (("sql", "{tape}", QUERY, "--out", "{out}"), "out.csv"),
    "sql to Parquet": (("sql", "{tape}", QUERY, "--out", "{out}"), "out.parquet"),
    "sql to JSON": (("sql", "{tape}", QUERY, "--out", "{out}"), "out.json"),
    "sql to JSON lines": (("sql", "{tape}", QUERY, "--out", "{out}"), "out.jsonl"),
    "sql to a table": (("sql", "{tape}", QUERY, "--rows", "0", "--out", "{out}"), "out.txt"),
    "CSV for a spreadsheet": (("sql", "{tape}", QUERY, "--spreadsheet", "--out", "{out}"), "out.csv"),
    "gaps to CSV": (("gaps", "{tape}", "--out", "{out}"), "gaps.csv"),
    "ls to CSV": (("ls", "{tape}", "--out", "{out}"), "ls.csv"),
    "spreads to CSV": (("analyze", "spreads", "{tape}", "--every", "1ms", "--out", "{out}"), "spreads.csv"),
    "a plot as PNG": (("analyze", "spreads", "{tape}", "--plot", "{out}"), "plot.png"),
    "a plot as HTML": (("analyze", "spreads", "{tape}", "--plot", "{out}"), "plot.html"),
    "import": (("import", "collector", "--venue", "hyperliquid", "{capture}", "--out", "{out}"), "imported"),
}
#: Commands that print.
PRINTERS: Final[dict[str, tuple[str, ...]]] = {
    "info": ("info", "{tape}"),
    "info --json": ("info", "{tape}", "--json"),
    "ls": ("ls", "{tape}"),
    "gaps": ("gaps", "{tape}"),
    "verify": ("verify", "{tape}", "--quick"),
    "replay": ("replay", "{tape}"),
    "replay --print": ("replay", "{tape}", "--print"),
    "sql": ("sql", "{tape}", QUERY),
    "sql as CSV": ("sql", "{tape}", QUERY, "--format", "csv"),
    "sql as Parquet": ("sql", "{tape}", QUERY, "--format", "parquet"),
    "spreads": ("analyze", "spreads", "{tape}"),
    "help": ("--help",),
}


@contextmanager
def material(work: Path) -> Iterator[dict[str, str]]:
    """What the commands read, on another disk than they write to."""
    work.mkdir(parents=True, exist_ok=True)
    tape = mixed_tape(work / "tape", frames=400, segment_frames=200).path
    plain = work / "plain"
    quotes = [
        book_frame("BTC", TS // 10**6 + number, [(10.0 + number % 3, 1.0)], [(14.0, 1.0)]) for number in range(2000)
    ]
    lines = b"".join(collector_line(TS + number * 10**6, frame) for number, frame in enumerate(quotes))
    (work / "capture.txt").write_bytes(lines)
    import_files(plain, work / "capture.txt")
    yield {"{tape}": str(tape), "{capture}": str(work / "capture.txt"), "{plain}": str(plain)}


def _words(words: tuple[str, ...], places: dict[str, str]) -> list[str]:
    # The tape has no books of both sides: what is drawn is the other one.
    tape = places["{plain}"] if "spreads" in words else places["{tape}"]
    return [{**places, "{tape}": tape}.get(word, word) for word in words]


def _refused(name: str, places: dict[str, str], disk: Path, *why: str) -> None:
    words, file = WRITERS[name]
    before = truth.contents(disk)
    result = cli(*_words(words, {**places, "{out}": str(disk / file)}))
    check(result.returncode == 1, f"{name} exits 1, not {result.returncode}: {result.stdout}{result.stderr}")
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    check(len(errors) == 1 and "Traceback" not in result.stderr, f"{name} says so in one line: {result.stderr}")
    check(any(each in errors[0] for each in why), f"{name} says why: {errors[0]}")
    check(truth.contents(disk) == before, f"{name} leaves nothing half done: {sorted(truth.contents(disk))}")


def outputs_on_a_full_disk(work: Path, seed: object) -> str:
    """No room for the result: what was there under its name stays as it was."""
    with material(work / "material") as places, Mount(work / "disk", "4m") as disk:
        for name, (_, file) in WRITERS.items():
            if name != "import":
                (disk.place / file).write_bytes(b"of before")
            ballast = fill(disk.place, 8 << 10 if name == "import" else 0)
            _refused(name, places, disk.place, "No space left on device")
            ballast.unlink()
            if name == "import":
                result = cli(*_words(WRITERS[name][0], {**places, "{out}": str(disk.place / file)}))
                check(result.returncode == 0, f"with room again the import works: {result.stderr}")
                shutil.rmtree(disk.place / file)
            else:
                (disk.place / file).unlink()
        for name, (words, file) in WRITERS.items():
            result = cli(*_words(words, {**places, "{out}": str(work / file)}))
            check(result.returncode in (0, 3), f"with room {name} works: {result.stderr}")
            check((work / file).exists(), f"{name} has written {file}")
    return f"{len(WRITERS)} kinds of results"


def outputs_on_a_read_only_disk(work: Path, seed: object) -> str:
    """Nothing can be written there at all."""
    with material(work / "material") as places, Mount(work / "disk", "4m") as disk:
        for name, (_, file) in WRITERS.items():
            disk.read_write()
            if name != "import":
                (disk.place / file).write_bytes(b"of before")
            disk.read_only()
            _refused(name, places, disk.place, "Read-only file system", "not writable")
    return f"{len(WRITERS)} kinds of results"


def full_standard_output(work: Path, seed: object) -> str:
    """Standard output goes to a disk without room: exit 1 and one line on standard error, never a traceback."""
    with material(work / "material") as places:
        for name, words in PRINTERS.items():
            status, said = _into(Path("/dev/full"), _words(words, places))
            check(status == 1, f"{name} exits 1, not {status}: {said}")
            check(said.count("\n") == 1 and "No space left" in said, f"{name} says so in one line: {said}")
            # A reader that has seen enough is no failure.
            status, said = _into(None, _words(words, places))
            check("Traceback" not in said and said.count("\n") <= 1, f"{name} into a closed pipe: {said}")
    return f"{len(PRINTERS)} commands"


def _into(path: Path | None, words: list[str]) -> tuple[int, str]:
    """Run a command whose standard output is a file, or a pipe whose reader is gone."""
    if path is not None:
        handle = os.open(path, os.O_WRONLY)
    else:
        reader, handle = os.pipe()
        os.close(reader)
    try:
        command = [sys.executable, "-m", "toolkit.cli", *words]
        ended = subprocess.run(
            command, stdout=handle, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=DEADLINE_S, check=False
        )
    finally:
        os.close(handle)
    return ended.returncode, ended.stderr


SCENARIOS: dict[str, Callable[[Path, object], str]] = {
    "outputs on a full disk": outputs_on_a_full_disk,
    "outputs on a read-only disk": outputs_on_a_read_only_disk,
    "full standard output": full_standard_output,
}
#: These mount a file system.
NEED_MOUNT: Final = ("outputs on a full disk", "outputs on a read-only disk")
