"""Runs that differ in something, and the plans that they are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from replay.fast.step import Step
from replay.strategy.backtesting import by_name, settings_of
from replay.strategy.loading import LoadedStrategy, Runnable, load_strategy
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.strategy import Strategy
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

__all__ = ["ASSUMPTIONS", "AnyStrategy", "Asked", "Variant", "asked_of", "check_assumptions"]

AnyStrategy = type[Strategy] | Runnable | str | Path
_EXAMPLE: Final[Mapping[str, Any]] = {"size": 1}
#: The assumptions of `backtest`, by name.
ASSUMPTIONS: Final = frozenset(inspect.signature(settings_of).parameters) - {"parameters"}


class Variant:
    """
    One run of several: what is another in it.

    Args:
        parameters: Parameters of its strategy, by name.
        strategy: Its strategy; None: that of all.
        assumptions: `latency`, `rules`, `capital`, `seed`, ... as `backtest` has them; those of all where they are not given.

    Raises ConfigError for an assumption that is none, and parameters that have no names.
    """

    def __init__(
        self, parameters: Mapping[str, Any] | None = None, *, strategy: AnyStrategy | None = None, **assumptions: Any
    ) -> None:
        check_assumptions("a variant", assumptions)
        self.parameters = dict(by_name("parameters", parameters, _EXAMPLE))
        self.strategy = strategy
        self.assumptions = assumptions

    def __repr__(self) -> str:
        said = [f"{name}={value!r}" for name, value in self.assumptions.items()]
        if self.strategy is not None:
            said.insert(0, f"strategy={self.strategy!r}")
        return f"Variant({', '.join([repr(self.parameters), *said])})"


def check_assumptions(what: str, given: Mapping[str, Any]) -> None:
    """Raise ConfigError for one that is none."""
    if unknown := sorted(given.keys() - ASSUMPTIONS):
        raise ConfigError(f"{what} has no argument {unknown[0]!r}, expected one of {', '.join(sorted(ASSUMPTIONS))}")


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A run that is asked for.

    Attributes:
        loaded: Its strategy.
        step: The step function that runs compiled; None: a class, or a step function in plain Python.
        settings: Assumptions.
        given: Assumptions that are its own, as they were given.
    """

    loaded: LoadedStrategy
    step: Step | None
    settings: RunSettings
    given: Mapping[str, Any] = field(default_factory=dict)

    def plan(self, keys: Sequence[PairKey]) -> RunPlan:
        """Of these pairs."""
        return RunPlan(self.loaded, keys, self.settings)


def asked_of(
    strategy: AnyStrategy | None, variants: Iterable[Variant | Mapping[str, Any]], common: Mapping[str, Any]
) -> list[Asked]:
    """
    What is asked for by variants.

    Args:
        strategy: Strategy of all that name none.
        variants: Variants, or the parameters alone of some.
        common: Assumptions of all.

    Raises ConfigError for what is none.
    """
    if isinstance(variants, Variant | Mapping | str) or not isinstance(variants, Iterable):
        raise ConfigError(f"the sets of parameters are {variants!r}, expected a list, for instance [{{}}]")
    given = [each if isinstance(each, Variant) else _variant(each) for each in variants]
    if not given:
        raise ConfigError("no set of parameters, expected at least one; {} is that of the defaults")
    loaded: dict[int, LoadedStrategy] = {}
    found = []
    parameters = by_name("parameters", common.get("parameters"), _EXAMPLE)
    assumed = {name: value for name, value in common.items() if name != "parameters"}
    for each in given:
        own = strategy if each.strategy is None else each.strategy
        if own is None:
            raise ConfigError(f"{each!r} has no strategy, and there is none for all: say Variant(strategy=...)")
        # What a file keeps outside of its class is each run's own.
        if id(own) not in loaded or not isinstance(own, type | Runnable):
            loaded[id(own)] = load_strategy(own)
        step = own if isinstance(own, Step) and own.is_compiled else None
        of_all = parameters if each.strategy is None else {}
        settings = settings_of(parameters={**of_all, **each.parameters}, **{**assumed, **each.assumptions})
        found.append(Asked(loaded[id(own)], step, settings, each.assumptions))
    return found


def _variant(given: Any) -> Variant:
    if not isinstance(given, Mapping):
        raise ConfigError(f"a set of parameters is {given!r}, expected values by name, for instance {{'size': 1}}")
    return Variant(given)
