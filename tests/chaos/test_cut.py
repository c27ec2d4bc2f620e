"""A cut of the chaos suite: real processes, killed and starved. It runs in `make test-all`, all of the suite in `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import clocks, disks, faults, kills, rewrites
from tests.chaos.bench import Mount

SEED = 20_261_122
#: Left to the long form: what waits for heartbeats and pauses of venues, and what differs little from one that is here.
LONG = (
    "banned",
    "deaf peer",
    "flooding peer",
    "machine sleeps an hour",
    "one venue of two down",
    "optional endpoint refused",
    "a second signal",
    "closes every 2 s",
    "disk does not follow",
    "disk full at rotation",
    "file size limit",
    "foreign certificate",
    "frame over the limit",
    "half-open silence",
    "HTTP 429 and 500",
    "refused at start",
    "refused later",
    "refused, then there",
    "reset mid-frame",
    "sealing process killed",
    "slow reading",
)
#: Before and after a file is synced are as many steps again.
STEPS = [name for name in kills.step_names(once=True) if "/file-" not in name or "/file-synced" in name]
#: The steps are shared out, so that some run at the same time.
PARTS = 2
SCENARIOS = {
    name: scenario
    for module in (faults, disks, clocks)
    for name, scenario in module.SCENARIOS.items()
    if name not in LONG
}


@pytest.mark.slow
@pytest.mark.parametrize("name", rewrites.SCENARIOS)
def test_a_rewrite_that_is_killed_or_refused_costs_nothing(name: str, tmp_path: Path) -> None:
    """Commands as processes, one after another; a disk that refuses is told of in one line."""
    if name in rewrites.NEED_MOUNT and not Mount.is_allowed(tmp_path):
        pytest.skip("this user may not mount a file system")
    rewrites.SCENARIOS[name](tmp_path / "work", SEED)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_costs_nothing_that_was_flushed(name: str, tmp_path: Path) -> None:
    """One clear line, the right exit status, a sound recording, and what was missed is in it."""
    if name in disks.NEED_MOUNT and not Mount.is_allowed(tmp_path):
        pytest.skip("this user may not mount a file system")
    SCENARIOS[name](tmp_path / "work", SEED)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_random_kills_cost_nothing_that_was_flushed(count: int, tmp_path: Path) -> None:
    """Several in a row into the same folder, healed by command and by the next session."""
    toll = kills.random_kills(tmp_path / "work", SEED, count)
    assert toll.kills == count


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_at_any_named_step_is_healed(part: int, tmp_path: Path) -> None:
    """In the process that receives and in the one that seals."""
    names = STEPS[part::PARTS]
    toll = kills.kill_at_step(tmp_path / "work", SEED, names, close=part == 0)
    assert toll.kills == len(names)


@pytest.mark.slow
def test_recovery_may_be_killed_and_run_again(tmp_path: Path) -> None:
    """At each of its steps, twice; when it has ended once, it changes nothing any more."""
    names = [name for name in kills.recover_steps(once=True) if not name.startswith(("file-written", "file-renamed"))]
    toll = kills.kill_recovery(tmp_path / "work", SEED, names)
    assert toll.kills >= len(names)
