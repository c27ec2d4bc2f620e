"""A cut of the matrix that `make determinism` shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from benchmarks import determinism
from recordings.format.manifest import read_manifest, write_manifest
from recordings.recording import Recording
from tests.replay.tapes_of_trades import MS, make


@pytest.fixture(autouse=True)
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each kind that has several."""
    monkeypatch.setattr(determinism, "HASH_SEEDS", ("1",))
    monkeypatch.setattr(determinism, "BATCH_ROWS", (7,))
    monkeypatch.setattr(determinism, "SPEEDS", ("1000x",))
    monkeypatch.setattr(determinism, "PROCESSES", 2)
    monkeypatch.setattr(determinism, "SEGMENT_FRAMES", (7, 1000))
    monkeypatch.setattr(determinism, "SHARED_DATA", Path("nowhere"))


@pytest.fixture
def tape(tmp_path: Path) -> Recording:
    return make(tmp_path / "tape", [n * MS for n in range(30)], segment_frames=13)


def shown(*words: str) -> Result:
    return CliRunner().invoke(determinism.main, [*words, "--no-pythons"])


def test_a_recording_gives_one_digest_and_one_sequence_whatever_else_differs(tape: Recording) -> None:
    done = shown(str(tape.path))
    lines = done.output.splitlines()
    assert done.exit_code == 0, done.output
    assert lines[-1] == "12 replays, all the same"
    assert sum(tape.manifest.digest in line for line in lines) == 13
    kinds = ("seed 1", "7 rows", "speed 1000x", "2 processes at once", "after compact", "after renormalize")
    assert [sum(kind in line for line in lines) for kind in kinds] == [2, 2, 2, 2, 2, 2]
    assert read_manifest(tape.path) == tape.manifest


@pytest.fixture
def two_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only from rows and from raw frames."""

    def cases(folder: Path) -> Iterator[determinism.Case]:
        for fidelity in ("normalized", "raw"):
            yield determinism.Case(name=fidelity, folder=folder, fidelity=fidelity)

    monkeypatch.setattr(determinism, "_cases", cases)
    monkeypatch.setattr(determinism, "_rewritten", lambda folder, work: iter([]))


@pytest.mark.usefixtures("two_ways")
def test_another_digest_is_found(tape: Recording) -> None:
    write_manifest(tape.path, msgspec.structs.replace(tape.manifest, digest="0" * 32))
    done = shown(str(tape.path))
    assert done.exit_code == 1
    assert "OTHER" in done.output


@pytest.mark.usefixtures("two_ways")
def test_another_sequence_is_found(tape: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the digest is the same: a callback that one kind of replay gives twice."""
    twice = (
        "callback(lambda message: [sequence.update(canonical_bytes(message)) for _ in range(1 + (fidelity == 'raw'))])"
    )
    program = determinism._PROGRAM.replace("callback(lambda message: sequence.update(canonical_bytes(message)))", twice)
    assert program != determinism._PROGRAM
    monkeypatch.setattr(determinism, "_PROGRAM", program)
    done = shown(str(tape.path))
    assert done.exit_code == 1
    assert "another" in done.output


def test_the_same_frames_in_other_segments_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism, "_cases", lambda folder: iter([determinism.Case(name="whole", folder=folder)]))
    monkeypatch.setattr(determinism, "_rewritten", lambda folder, work: iter([]))
    done = shown("--frames", "40")
    assert done.exit_code == 0, done.output
    assert "imported in 6 segments" in done.output
    assert "imported in 1 segment " in done.output


def test_a_python_is_looked_for_behind_a_shim_that_only_says_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, status in (("shims", 127), ("bin", 0)):
        (tmp_path / folder).mkdir()
        script = tmp_path / folder / "python3.12"
        script.write_text(f"#!/bin/sh\nexit {status}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "shims"), str(tmp_path / "bin")]))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert determinism._find_python("python3.12") == tmp_path / "bin" / "python3.12"
    assert determinism._find_python("python3.13") is None
