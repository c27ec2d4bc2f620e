"""
`python -m benchmarks.determinism [RECORDING]`: one recording, one digest and one sequence of callbacks, whatever else differs.

The matrix: hash seeds, batch sizes, both fidelities, speeds, one process and several at once, the recording after
`compact` and after `renormalize`, the same frames imported in segments of other sizes, and every Python that is found.
Without a recording it makes one. Exits with 1 if any digest or sequence is another one. What cannot be tried is said.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from benchmarks.captures import book_frames, write_archive
from benchmarks.harness import ROOT, SHARED_DATA, Options
from benchmarks.importing import imported
from recordings.care.compacting import compact
from recordings.care.renormalizing import renormalize
from recordings.format.manifest import read_manifest
from recordings.importing.importer import ImportOptions, import_capture
from recordings.storage.lock import FolderLock

__all__ = ["main"]

HASH_SEEDS: Final = ("0", "1", "4294967295")
BATCH_ROWS: Final = (1, 7, 1000, 65_536)
SPEEDS: Final = ("1000x", "100000x")
PROCESSES: Final = 3
#: Frames per segment of imports of the same frames; the last is one segment for all.
SEGMENT_FRAMES: Final = (97, 1_000, 10**9)
PYTHONS: Final = ("python3.11", "python3.12", "python3.13")
#: All that a replay imports; the other dependencies are of the live side and of the analysis.
_NEEDS: Final = ("numpy", "pyarrow", "msgspec", "lz4")
_ENVIRONMENTS: Final = ROOT / ".determinism"

#: Prints the digest, and a hash over every message in the order and the form in which a callback gets it.
_PROGRAM: Final = """
import asyncio, sys
from hashlib import blake2b
from toolkit.timing.times import parse_speed
from replay.source import ReplayDataSource
from toolkit.digest import canonical_bytes
folder, fidelity, rows, speed = sys.argv[1:]
source = ReplayDataSource(
    folder, fidelity=fidelity, batch_rows=int(rows) or None, with_digest=True, speed=parse_speed(speed)
)
sequence = blake2b(digest_size=16)
source.set_message_callback(lambda message: sequence.update(canonical_bytes(message)))
if speed == "max":
    source.play()
else:
    asyncio.run(source.player.run())
print(source.chain.hexdigest(), sequence.hexdigest())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to replay: `rows` 0 is the replay's own choice, `processes` run at the same time."""

    name: str
    folder: Path
    fidelity: str = "normalized"
    rows: int = 0
    speed: str = "max"
    seed: str = "0"
    python: str = sys.executable
    processes: int = 1


def _outcomes(case: Case) -> list[tuple[str, str]]:
    """Digest and sequence, from each process."""
    words = [case.python, "-c", _PROGRAM, str(case.folder.absolute()), case.fidelity, str(case.rows), case.speed]
    environment: Mapping[str, str] = {**os.environ, "PYTHONHASHSEED": case.seed}
    running = [
        subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(case.processes)
    ]
    outcomes = []
    for process in running:
        stdout, stderr = process.communicate()
        digest, _, sequence = stdout.strip().partition(" ")
        if process.returncode:
            digest = "failed: " + (stderr.strip().splitlines() or [f"status {process.returncode}"])[-1]
        outcomes.append((digest, sequence))
    return outcomes


def _cases(folder: Path) -> Iterator[Case]:
    for fidelity, seed in itertools.product(("normalized", "raw"), HASH_SEEDS):
        yield Case(name=f"{fidelity}, seed {seed}", folder=folder, fidelity=fidelity, seed=seed)
    for fidelity, rows in itertools.product(("normalized", "raw"), BATCH_ROWS):
        yield Case(name=f"{fidelity}, {rows} rows at a time", folder=folder, fidelity=fidelity, rows=rows)
    for fidelity, speed in itertools.product(("normalized", "raw"), SPEEDS):
        yield Case(name=f"{fidelity}, speed {speed}", folder=folder, fidelity=fidelity, speed=speed)
    yield Case(name=f"{PROCESSES} processes at once", folder=folder, fidelity="raw", processes=PROCESSES)


def _rewritten(folder: Path, work: Path) -> Iterator[Case]:
    """Copies of the recording that were compacted and renormalized."""
    for name, rewrite in (("compact", compact), ("renormalize", renormalize)):
        copy = work / name
        shutil.copytree(folder, copy)
        with FolderLock(copy):
            rewrite(copy)
        for fidelity in ("normalized", "raw"):
            yield Case(name=f"{fidelity}, after {name}", folder=copy, fidelity=fidelity)


def _imports(options: Options) -> Iterator[Case]:
    """The same frames in segments of other sizes."""
    capture = write_archive(book_frames(options), options.frames, options.folder / "frames.lz4")
    for frames in SEGMENT_FRAMES:
        folder = options.folder / f"segments-{frames}"
        how = ImportOptions(venue="hyperliquid", line_format="archive", segment_frames=frames)
        count = len(import_capture([capture], folder, how).segments)
        yield Case(name=f"imported in {count} segment{'s' if count > 1 else ''}", folder=folder)


def _pythons(folder: Path) -> Iterator[Case | str]:
    """A replay by each other Python; a line of text for what cannot be tried."""
    here = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in PYTHONS:
        if name == here:
            yield Case(name=f"{name} (this one)", folder=folder, fidelity="raw")
            continue
        interpreter = _find_python(name)
        if interpreter is None:
            yield f"{name}: not found on PATH or among a version manager's, left out"
            continue
        ready = _environment(name, interpreter)
        if isinstance(ready, str):
            yield ready
            continue
        for fidelity in ("normalized", "raw"):
            yield Case(name=f"{fidelity}, {name}", folder=folder, fidelity=fidelity, python=str(ready))


def _find_python(name: str) -> Path | None:
    """The first that runs, as the Makefile looks: a version manager's shim may only say that it is not installed."""
    version = name.removeprefix("python")
    managed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places = [Path(place) / name for place in os.environ.get("PATH", "").split(os.pathsep) if place]
    places += [folder / "bin" / name for folder in sorted(managed.glob(f"{version}*"))]
    check = f"import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    for place in places:
        if os.access(place, os.X_OK) and _quiet([str(place), "-c", check]).returncode == 0:
            return place
    return None


def _environment(name: str, interpreter: Path) -> Path | str:
    """An environment of that Python with what a replay needs, at the pinned versions; why not, if it cannot be made."""
    folder = _ENVIRONMENTS / name
    python = folder / "bin" / "python"
    if _quiet([str(python), "-c", f"import {', '.join(_NEEDS)}"]).returncode == 0:
        return python
    click.echo(f"making {folder.relative_to(ROOT)}", err=True)
    made = _quiet([str(interpreter), "-m", "venv", "--clear", str(folder)])
    if made.returncode == 0:
        constraints = str(ROOT / "constraints.txt")
        made = _quiet([str(python), "-m", "pip", "install", "--quiet", "--no-input", "-c", constraints, *_NEEDS])
    if made.returncode == 0:
        return python
    why = re.sub(r"\s+", " ", made.stderr.strip())[-200:]
    return f"{name}: its environment cannot be made, left out ({why})"


def _quiet(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    except OSError as exc:
        return subprocess.CompletedProcess(words, 127, "", str(exc))


def _all(recording: Path | None, frames: int, work: Path, *, with_pythons: bool) -> Iterator[Case | str]:
    shared = SHARED_DATA if SHARED_DATA.is_dir() else None
    options = Options(folder=work, frames=frames, shared=shared)
    folder = recording or imported(options)[1]
    yield from _cases(folder)
    yield from _rewritten(folder, work)
    if recording is None:
        yield from _imports(options)
    else:
        yield "imports in other segments: only of the recording that is made here, left out"
    if with_pythons:
        yield from _pythons(folder)


@click.command()
@click.argument("recording", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--frames", default=2_000, show_default=True, help="Frames of the recording that is made.")
@click.option("--pythons/--no-pythons", default=True, help="Try every Python that is found, each in its environment.")
def main(recording: Path | None, frames: int, pythons: bool) -> None:
    """Compare digest and callbacks of many replays with each other and with the recorded digest."""
    others = tried = 0
    expected: tuple[str, str] | None = None
    with tempfile.TemporaryDirectory(prefix="tickdeck-determinism-") as work:
        for case in _all(recording, frames, Path(work), with_pythons=pythons):
            if isinstance(case, str):
                click.echo(case)
                continue
            for digest, sequence in _outcomes(case):
                if expected is None:
                    expected = read_manifest(case.folder).digest, sequence
                    click.echo(f"{'recorded':<40} {expected[0]}")
                tried += 1
                equal = (digest == expected[0]) + (sequence == expected[1])
                others += equal != 2
                verdict = "same digest, same callbacks" if equal == 2 else "OTHER than the recorded digest or callbacks"
                click.echo(f"{case.name:<40} {digest} {sequence}  {verdict}")
    click.echo(f"{tried} replays, {others} of them another" if others else f"{tried} replays, all the same")
    if others:
        raise click.ClickException(f"{others} of {tried} replays gave another digest or other callbacks")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.determinism")
