"""`tickdeck replay`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from recordings.format.manifest import read_manifest, write_manifest
from recordings.recording import Recording
from tests.tapes import messages_of, mixed_tape
from tests.toolkit.cli.terminal import only_error, run
from toolkit.messages import Trade


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return mixed_tape(tmp_path_factory.mktemp("replay") / "tape")


@pytest.mark.parametrize("fidelity", ["raw", "normalized"])
def test_it_says_what_came_out_and_that_the_digest_is_the_recorded_one(tape: Recording, fidelity: str) -> None:
    done = run("replay", tape.path, "--fidelity", fidelity)
    count = len(messages_of(tape))
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{count:,} messages ({fidelity}) in ")
    assert done.stdout.splitlines()[-1] == f"digest {tape.manifest.digest}, equal to the recorded one"
    values = json.loads(run("replay", tape.path, "--fidelity", fidelity, "--batch-rows", "7", "--json").stdout)
    assert (values["messages"], values["digest"], values["equal"]) == (count, tape.manifest.digest, True)


def test_another_digest_than_the_recorded_one_exits_with_1(tape: Recording, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tape.path, tmp_path / "tape"))
    manifest = read_manifest(folder)
    manifest.digest = "00" * 16
    write_manifest(folder, manifest)
    done = run("replay", folder)
    assert (done.exit_code, f"NOT the recorded {'00' * 16}" in done.stdout) == (1, True)


def test_messages_are_printed_one_json_object_a_line(tape: Recording) -> None:
    """The verdict goes to stderr then."""
    done = run("replay", tape.path, "--print")
    lines = done.stdout.splitlines()
    messages = messages_of(tape)
    assert len(lines) == len(messages)
    trades = [line for line, message in zip(lines, messages, strict=True) if isinstance(message, Trade)]
    first = next(message for message in messages if isinstance(message, Trade))
    assert msgspec.json.decode(trades[0], type=Trade) == first
    assert "equal to the recorded one" in done.stderr


def test_one_pair_alone_has_no_digest_to_compare(tape: Recording) -> None:
    values = json.loads(run("replay", tape.path, "--pair", "BTC-USD", "--json").stdout)
    expected = [message for message in messages_of(tape) if message.trading_pair in ("BTC-USD", "")]
    assert (values["messages"], values["digest"], values["equal"]) == (len(expected), None, None)
    assert "'DOGE-USD' is not in " in only_error(run("replay", tape.path, "--pair", "DOGE-USD"))
