"""
What a strategy hands over, checked before anything is done with it: all of it ends in the decision log.

The log is bytes that are equal live and replayed, so numbers have to fit it and texts have to be the same in every process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from operator import index
from typing import Any, Final, NamedTuple

import numpy as np

from replay.backtest.market import MarketRules
from replay.backtest.requests import Trigger
from replay.backtest.scales import PairScale
from replay.ledger.margin_rules import ReferencePrice
from replay.strategy.pair_rules import PairRules
from replay.strategy.views import Gap, OwnOrder
from toolkit.errors import ConfigError
from toolkit.messages import Side
from toolkit.timing.times import length_ns

__all__ = [
    "COUNT_MAX",
    "PLAIN",
    "StepCounts",
    "Terms",
    "checked_order",
    "counted",
    "is_positive",
    "lots_asked",
    "noted",
    "terms_of",
    "terms_said",
    "tick_asked",
    "time_ns_asked",
]

#: Ticks, lots and times are int64 with room for sums; what is asked for stays below.
COUNT_MAX: Final = 2**61
#: Whose text is of their value alone. The text of anything else may name a place in memory, or have an order of its own.
_PLAIN: Final = (Decimal, Fraction, date, time, timedelta, OwnOrder, Gap, PairRules)
_INT64: Final = 2**63
#: Prices or sizes of a pair that are remembered.
_KNOWN_MAX: Final = 4096
#: A list in a list, and so on: deeper is none that a line of a log is made of.
_DEPTH_MAX: Final = 8
#: No venue works an order off for longer, and few for more than a day.
_TWAP_MAX_NS: Final = 7 * 86_400 * 10**9
#: A price or size that differs from a whole number of steps by a smaller share is that number: floats are rounded.
_ROUNDING: Final = 1e-12


def noted(name: str, value: object, depth: int = 0) -> object:
    """
    A value of `ctx.log` as the decision log keeps it: itself, or its text.

    Raises ConfigError for a whole number that does not fit and for what has no text that is the same in every run.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | float | None):
        return value
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else str(value)
    _check_plain(name, value, depth)
    return _text(name, str(value))


def _check_plain(name: str, value: object, depth: int) -> None:
    if depth < _DEPTH_MAX:
        if isinstance(value, Mapping):
            value = [*value.keys(), *value.values()]
        if isinstance(value, Sequence):
            for each in value:
                if not isinstance(each, str):
                    noted(name, each, depth + 1)
            return
    if not isinstance(value, _PLAIN):
        raise ConfigError(
            f"log: {name} is a {type(value).__name__}, which need not read alike in another run; expected numbers, text,"
            " lists of them, orders or positions"
        )


def _text(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"log: {name} is {text!r}, which is no text that can be written as UTF-8") from None
    return str(text)


def time_ns_asked(name: str, value: Any) -> int:
    """A point in time as a strategy gives it. Raises ConfigError for what is no whole number of ns, or none of our time."""
    try:
        if isinstance(value, bool):
            raise TypeError
        ns = index(value)
    except TypeError:
        ns = -1
    if not 0 <= ns < COUNT_MAX:
        raise ConfigError(f"{name} is {value!r}, expected whole ns since the epoch, for instance ctx.now_ns + 10**9")
    return ns


def checked_order(order: object) -> OwnOrder:
    """An order, as it came. Raises ConfigError for anything else."""
    if not isinstance(order, OwnOrder):
        raise ConfigError(f"found {order!r} in place of an order, expected what buy, sell, keep or ctx.orders gave")
    return order


def is_positive(value: Any) -> bool:
    """Whether a price or size is a finite number above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def counted(name: str, what: str, value: float, step: Decimal, ratio: tuple[int, int]) -> int | None:
    """
    A price or size in whole steps, of which numerator and denominator are given too; None where it is between two.

    Raises ConfigError for more than can be counted.
    """
    over, under = ratio
    if value * under > COUNT_MAX * over:
        raise ConfigError(f"{name}: {what} is {value!r}, expected less than {float(COUNT_MAX * step):.3g}")
    count = round(value * under / over)
    exact = count * over / under
    return count if abs(exact - value) <= value * _ROUNDING and count > 0 else None


def tick_asked(name: str, rules: MarketRules, scale: PairScale, price: Any, near: Callable[[], PairRules]) -> int:
    """A price in ticks; `near` gives what the message about another one shows. Raises ConfigError for one off the tick."""
    if not is_positive(price):
        raise ConfigError(f"{name}: price is {price!r}, expected a number above 0")
    tick = counted(name, "price", price, scale.tick, scale.tick_ratio)
    if tick is None or tick % rules.ticks or not scale.has_figures(tick):
        shown = near()
        raise ConfigError(
            f"{name}: price {price!r} is no whole number of ticks of {shown.tick_at(price):g}, expected for instance"
            f" {shown.round_price(Side.BUY, price)!r}: ctx.rules(pair).round_price(side, price) gives one"
        )
    return tick


def lots_asked(name: str, rules: MarketRules, scale: PairScale, size: Any) -> int:
    """A size in lots. Raises ConfigError for one that is no whole number of them."""
    if not is_positive(size):
        raise ConfigError(f"{name}: size is {size!r}, expected a number above 0")
    lots = counted(name, "size", size, scale.lot, scale.lot_ratio)
    if lots is None or lots % rules.lots:
        raise ConfigError(
            f"{name}: size {size!r} is no whole number of lots of {rules.lot:f}: ctx.rules(pair).round_size(size)"
            " gives one"
        )
    return lots


class StepCounts:
    """
    Prices or sizes of orders in the steps of their pair, of which most are asked for again and again.

    Args:
        count: Counts one, by the place of its pair, the rules and the scale in force there; what it raises is raised.
    """

    __slots__ = ("_count", "_known")

    def __init__(self, count: Callable[[int, MarketRules, PairScale, Any], int]) -> None:
        self._count = count
        #: Of each pair the rules by which these were counted; other rules are another object.
        self._known: dict[int, tuple[MarketRules, dict[float, int]]] = {}

    def of(self, place: int, rules: MarketRules, scale: PairScale, value: Any) -> int:
        """How many steps a price or size is."""
        there = self._known.get(place)
        if there is None or there[0] is not rules or len(there[1]) >= _KNOWN_MAX:
            there = self._known[place] = (rules, {})
        steps = there[1].get(value) if type(value) is float else None
        if steps is None:
            steps = there[1][value] = self._count(place, rules, scale, value)
        return steps


class Terms(NamedTuple):
    """
    What else an order may be sent with, as a strategy gives it; see `Context.buy`.

    Attributes:
        stop: Price that wakes it.
        take_profit: Price that wakes it, of the other kind.
        on: Price of the venue that these are about.
        twap: Length of time.
        good_til_blocks: Number of blocks.
    """

    stop: float | None = None
    take_profit: float | None = None
    on: str | None = None
    twap: str | None = None
    good_til_blocks: int | None = None

    def trigger(self, name: str, side: Side, tick_of: Callable[[float], int]) -> Trigger | None:
        """What wakes an order; None where nothing has to. Raises ConfigError for two prices, or one that is off the tick."""
        if self.stop is not None and self.take_profit is not None:
            raise ConfigError(f"{name}: stop and take_profit are both given, expected one of them")
        price, is_stop = (self.take_profit, False) if self.stop is None else (self.stop, True)
        if price is None:
            if self.on is not None:
                raise ConfigError(f"{name}: on={self.on!r} without a stop or take_profit, which it is about")
            return None
        if self.on not in (None, *ReferencePrice):
            raise ConfigError(f"{name}: on is {self.on!r}, expected one of {', '.join(ReferencePrice)}")
        on = None if self.on is None else ReferencePrice(self.on)
        return Trigger(tick_of(price), is_stop == (side is Side.BUY), is_stop, on)

    def twap_ns(self, name: str, *, is_plain: bool) -> int:
        """In which time an order is worked off, ns; 0: in none. Raises ConfigError for no length, a senseless one, or a price."""
        if self.twap is None:
            return 0
        if not is_plain or self.good_til_blocks is not None:
            raise ConfigError(
                f"{name}: twap goes with neither a price, a stop nor a time in force, expected the size alone"
            )
        found = length_ns(self.twap, f"{name}: twap")
        if found > _TWAP_MAX_NS:
            raise ConfigError(f"{name}: twap is {self.twap!r}, expected a length of at most 7 days, for instance '30m'")
        return found

    def blocks(self, name: str, *, is_plain: bool) -> int:
        """For how many blocks an order is good; 0: it is of no such kind. Raises ConfigError for what is no number of them."""
        count: Any = self.good_til_blocks
        if count is None:
            return 0
        if isinstance(count, bool) or not hasattr(count, "__index__") or not 0 < index(count) < COUNT_MAX:
            raise ConfigError(f"{name}: good_til_blocks is {count!r}, expected a whole number above 0, for instance 20")
        if not is_plain:
            raise ConfigError(f"{name}: good_til_blocks goes with neither a stop nor expires_ns")
        return index(count)


PLAIN: Final = Terms()


def terms_of(*given: Any) -> Terms:
    """Terms in their order; `PLAIN`, which is one object, where none is given, as of almost all orders."""
    return PLAIN if given == PLAIN else Terms(*given)


def terms_said(trigger: Trigger | None, twap_ns: int, blocks: int) -> tuple[Any, ...]:
    """The same as the decision log has it, after what every order has; nothing where nothing was given."""
    said: tuple[Any, ...] = ()
    if trigger is not None:
        said = (trigger.tick, "stop" if trigger.is_stop else "take_profit")
        said = said if trigger.on is None else (*said, "on", str(trigger.on))
    if twap_ns:
        said = (*said, "twap", twap_ns)
    return (*said, "good_til_blocks", blocks) if blocks else said
