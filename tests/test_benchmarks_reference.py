"""A job that has become slower than what is stored is called a loss, and nothing else is."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import reference
from benchmarks.reference import LOSS_MAX, REFERENCE, losses, multiples, other_work


def busy(loops: int) -> Callable[[], int]:
    """A job that takes so many times what another does."""
    return lambda: sum(number * number % 7 for number in range(20_000 * loops))


def test_a_job_is_measured_as_a_multiple_of_the_kernel() -> None:
    """Twelve times the work is clearly more than three times, whatever the machine does beside it."""
    gc.freeze()  # garbage is collected before each job: not of what other tests have left
    found = multiples({"short": busy(3), "long": busy(12)}, kernel=busy(3), rounds=5)
    assert 0.3 < found["short"] < 3
    assert found["long"] > 1.5 * found["short"]


def test_what_takes_more_than_it_may_is_lost() -> None:
    """Less is no loss, and neither is a job that nothing is stored of."""
    stored = {"same": 2.0, "slower": 2.0, "faster": 2.0, "gone": 1.0}
    found = {"same": 2.0 * (1 + LOSS_MAX) - 0.01, "slower": 2.0 * (1 + LOSS_MAX) + 0.01, "faster": 1.0, "new": 9.0}
    assert losses(found, stored) == {"slower": pytest.approx(LOSS_MAX + 0.005)}


def test_the_command_exits_with_1_where_something_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And names it; a machine of another kind is told to store its own."""
    monkeypatch.setattr(reference, "jobs", lambda folder: {"replay": busy(6)})
    monkeypatch.setattr(reference, "multiples", lambda found, rounds: dict.fromkeys(found, 2.0))
    path = tmp_path / "reference.json"
    runner = CliRunner()
    arguments = ["--reference", str(path)]
    nothing = runner.invoke(reference.check, arguments)
    assert nothing.exit_code == 1
    assert "check --store" in nothing.output
    assert runner.invoke(reference.check, [*arguments, "--store"]).exit_code == 0
    assert runner.invoke(reference.check, arguments).exit_code == 0
    document = json.loads(path.read_bytes())
    document["multiples"]["replay"] = 1.5
    document["machine"]["cpu"] = "another"
    path.write_text(json.dumps(document), encoding="utf-8")
    lost = runner.invoke(reference.check, arguments)
    assert lost.exit_code == 1
    assert "+33.3 %   LOST" in lost.output
    assert "stored on another, this is" in lost.output


def test_the_command_exits_with_1_where_a_job_does_other_work_than_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is broken is fast: it is not taken for one that has become faster, and nothing is stored of an idle one."""
    assert other_work({"same": 5, "new": 7}, {"same": 5, "gone": 1}) == []
    done = {"replay": 8000}
    monkeypatch.setattr(reference, "jobs", lambda folder: {"replay": lambda: done["replay"]})
    monkeypatch.setattr(reference, "multiples", lambda found, rounds: dict.fromkeys(found, 2.0))
    arguments = ["--reference", str(tmp_path / "reference.json")]
    runner = CliRunner()
    assert runner.invoke(reference.check, [*arguments, "--store"]).exit_code == 0
    assert runner.invoke(reference.check, arguments).exit_code == 0
    done["replay"] = 7999
    less = runner.invoke(reference.check, arguments)
    assert less.exit_code == 1
    assert "replay did 7,999 of what it counts, 8,000 when it was stored" in less.output
    done["replay"] = 0
    idle = runner.invoke(reference.check, [*arguments, "--store"])
    assert idle.exit_code == 1
    assert "replay: nothing was done" in idle.output


@pytest.mark.usefixtures("uncompiled")
def test_the_stored_reference_is_of_the_jobs_that_there_are(tmp_path: Path) -> None:
    """A job that is renamed or dropped would be compared with nothing; and each of them runs."""
    found = reference.jobs(tmp_path, frames=300)
    document = json.loads(REFERENCE.read_bytes())
    assert list(found) == list(document["multiples"]) == list(document["counts"])
    done = {name: job() for name, job in found.items()}
    classes, compiled = done.pop("backtest, class"), done.pop("backtest, compiled")
    assert set(done.values()) == {300}
    assert classes == compiled > 0
