"""What becomes of a run with other assumptions: the same strategy on the same tape, one thing changed at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, localcontext
from typing import Final

from replay.market.rules import QueueFront
from replay.results.run_info import RunInfo, run_info
from replay.results.run_record import RunRecord
from replay.results.run_study import Rerun
from replay.strategy.loading import LoadedStrategy
from replay.strategy.plan import RunPlan, RunSettings
from toolkit.errors import TickdeckError
from toolkit.keys import PairKey

__all__ = ["Variant", "rerun", "variants"]

#: The queue that is tried beside the pessimistic one.
_PROBABILISTIC: Final = {"queue_front": QueueFront.POWER.value, "queue_power": "3"}
_BASIS_POINT: Final = Decimal("0.0001")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """
    One assumption changed.

    Attributes:
        name: Name for programs.
        title: Title for people.
        setting: Setting as it is written on the command line.
        settings: With which the run is made again.
    """

    name: str
    title: str
    setting: str
    settings: RunSettings


def variants(plan: RunPlan) -> list[Variant]:
    """What is tried: the other kind of queue, no latency, and twice as much."""
    settings = plan.settings
    fronts = {rules.queue_front for rules in plan.rules.values()}
    if fronts == {QueueFront.PESSIMISTIC}:
        rules, queue = _PROBABILISTIC, "a probabilistic queue"
    else:
        rules, queue = {"queue_front": QueueFront.PESSIMISTIC.value}, "a pessimistic queue"
    found = [
        Variant(
            name="queue",
            title=queue,
            setting=" ".join(f"--rule {name}={value}" for name, value in rules.items()),
            settings=dataclasses.replace(settings, rules={**settings.rules, **rules}),
        )
    ]
    for times, title in ((0, "no latency of requests and answers"), (2, "twice the latency")):
        latency = _times(settings.latency, times)
        found.append(
            Variant(
                name=f"latency_x{times}",
                title=title,
                setting=f"--latency {latency}",
                settings=dataclasses.replace(settings, latency=latency),
            )
        )
    return found


def _times(latency: str, times: int) -> str:
    """A latency as it is written, multiplied; one that was multiplied before is once more."""
    parts = [part.strip() for part in latency.split(",")]
    was = next((Decimal(part.removeprefix("times=")) for part in parts if part.startswith("times=")), Decimal(1))
    return ",".join(
        [*(part for part in parts if not part.startswith("times=")), f"times={(was * times).normalize():f}"]
    )


def rerun(
    loaded: LoadedStrategy,
    keys: Sequence[PairKey],
    plan: RunPlan,
    base: RunInfo,
    run: Callable[[RunPlan, str], RunRecord],
) -> Iterator[Rerun]:
    """
    Make a run again with each of `variants`, and compute what needs no run.

    Args:
        loaded: The strategy.
        keys: The pairs.
        plan: Plan of the run as it was.
        base: Figures of that run.
        run: Function that makes a run, called with which one.

    Yields:
        One for each assumption, as soon as it is known. One that cannot be run says why.
    """
    for variant in variants(plan):
        try:
            info = run_info(run(RunPlan(loaded, keys, variant.settings), variant.title))
        except TickdeckError as exc:
            yield Rerun(name=variant.name, title=variant.title, setting=variant.setting, why_not=str(exc))
            continue
        yield Rerun(
            name=variant.name,
            title=variant.title,
            setting=variant.setting,
            nets={account.name: account.net for account in info.accounts},
            fills=info.fill_count,
        )
    yield Rerun(
        name="fees_1bp",
        title="fees 1 bp higher",
        setting="computed: the same trades",
        nets=_dearer(base),
        fills=base.fill_count,
    )


def _dearer(info: RunInfo) -> dict[str, Decimal]:
    """Net profit where every execution costs a basis point of its worth more."""
    with localcontext(prec=200):
        return {
            account.name: account.net
            - _BASIS_POINT * sum((pair.turnover for pair in info.pairs if pair.account == account.name), Decimal(0))
            for account in info.accounts
        }
