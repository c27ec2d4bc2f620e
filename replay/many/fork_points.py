"""An instant at which a run becomes several, and the proof that all of them go on from one state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from replay.strategy.failures import StrategyError
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.session import TradingSession
from toolkit.clock import format_ns
from toolkit.errors import ConfigError

__all__ = ["ForkPoint", "check_variant"]

#: What may be another from an instant on; the rest is part of the state, or of how it came about.
_FREE: Final = frozenset({"parameters", "latency", "clock_offset_ns", "preset", "rules", "callback_s_max"})
#: What is called otherwise where it is given.
_SAID: Final = {"gap_policy": "gaps", "mark_is_mid": "assumed", "block_ns": "assumed"}


class ForkPoint:
    """
    Where a run becomes several.

    Args:
        at_ns: The instant: what happens before it is common.
        base: Plan of the run until then.

    Attributes:
        base: As given.
        state: Digest of the state there; empty before it was reached.
    """

    def __init__(self, at_ns: int, base: RunPlan) -> None:
        self.at_ns = at_ns
        self.state = ""
        self.base = base

    def note(self, state: str, session: TradingSession) -> None:
        """
        One of them goes on from a state: it stands in what is taken down of its run.

        Raises StrategyError where it is another than that of those before.
        """
        self.state = self.state or state
        if state != self.state:
            raise StrategyError(
                f"{self.base.head.strategy} cannot be forked at {format_ns(self.at_ns)}: run twice up to there, it came to"
                f" two states ({self.state} and {state}), so it depends on something beside what it is given"
            )
        head = self.base.head
        recorder = session._recorder
        fork: dict[str, Any] = {
            "at_ns": self.at_ns,
            "state": state,
            "strategy": head.strategy,
            "parameters": head.parameters,
            "latency": head.latency,
            "rules": head.rules,
        }
        recorder.head = dataclasses.replace(recorder.head, settings={**recorder.head.settings, "fork": fork})


def check_variant(base: RunSettings, given: Mapping[str, Any], settings: RunSettings) -> None:
    """Raise ConfigError where a run cannot go on with these settings from a state that others led to."""
    for field in dataclasses.fields(settings):
        name = _SAID.get(field.name, field.name)
        if field.name in _FREE or getattr(settings, field.name) == getattr(base, field.name):
            continue
        raise ConfigError(
            f"{name} cannot change within a run: money and orders by then are made by it; expected other parameters, another"
            " strategy, latency or rules, or runs that begin there with fresh accounts, backtest_many(..., start_ns=...)"
        )
