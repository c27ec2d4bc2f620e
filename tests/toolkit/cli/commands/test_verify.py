"""`tickdeck verify`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from recordings.recording import Recording
from tests.tapes import mixed_tape
from tests.toolkit.cli.terminal import run


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return mixed_tape(tmp_path_factory.mktemp("verify") / "tape")


def test_a_sound_recording_exits_with_0_and_shows_its_digests(tape: Recording) -> None:
    done = run("verify", tape.path)
    digest = tape.manifest.digest
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("digest")] == [digest] * 3
    assert ": sound (240 frames, " in done.stdout.splitlines()[-1]
    values = json.loads(run("verify", tape.path, "--json").stdout)
    assert (values["sound"], values["problems"], values["raw_digest"]) == (True, [], digest)


def test_a_damaged_one_exits_with_1_and_says_each_damage(tape: Recording, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tape.path, tmp_path / "tape"))
    path = folder / "bbo" / "000001.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (folder / "raw" / "000002.parquet").unlink()
    done = run("verify", folder)
    assert done.exit_code == 1
    damaged = [line for line in done.stdout.splitlines() if line.startswith("damaged: ")]
    assert [line.split()[1] for line in damaged] == ["bbo/000001.parquet", "raw/000002.parquet"]
    assert ": DAMAGED (" in done.stdout.splitlines()[-1]
    values = json.loads(run("verify", folder, "--json").stdout)
    assert (values["sound"], len(values["problems"])) == (False, 2)


def test_the_verdict_says_what_it_is_about(tape: Recording, tmp_path: Path) -> None:
    """Zero frames are sound of nothing: what was not played is named."""
    assert (
        run("verify", tape.path, "--quick")
        .stdout.splitlines()[-1]
        .endswith(" files have the hashes they were sealed with; nothing was played)")
    )
    folder = Path(shutil.copytree(tape.path, tmp_path / "two\nlines"))
    assert run("prune", folder, "--keep-raw-days", "0").exit_code == 0
    done = run("verify", folder)
    last = done.stdout.splitlines()[-1]
    assert "two\\nlines: sound (raw frames not played, " in last
    assert " messages; " in last
    assert json.loads(run("verify", folder, "--json").stdout)["files"] > 0


def test_what_is_no_recording_exits_with_2(tmp_path: Path) -> None:
    done = run("verify", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {tmp_path} is not a recording: ")
    assert done.stderr.count("\n") == 1
