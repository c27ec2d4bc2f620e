"""
The rules of matching, each a named flag with a default and the value that the `hftbacktest` preset takes.

A recording says what happened without our orders; what would have happened with them is a matter of assumptions. They
are all here. The defaults never give a fill that the recorded volume does not pay for. The preset is what
hftbacktest 2.4.4 does, for comparison; what is unlike any venue in it is a flag too.

| rule                   | default         | hftbacktest                                                   |
|------------------------|-----------------|---------------------------------------------------------------|
| `queue_front`          | `pessimistic`   | by model: `pessimistic`, `power`, `power2`, `power3`, `log`, `log2` |
| `unseen`               | yes             | no                                                            |
| `equal_trade`          | `next_unit`     | the same                                                      |
| `share_trade`          | yes             | no                                                            |
| `through_trade`        | `trade_size`    | `all`                                                         |
| `crossed_book`         | `level_size`    | `all`                                                         |
| `taken_liquidity`      | yes             | no                                                            |
| `taker_rest`           | `rests`         | `fills`                                                       |
| `market_reach`         | the pair's band | 100 ticks                                                     |
| `short_buys`           | no              | yes                                                           |
| `queue_after_snapshot` | `min`           | the same                                                      |
| `self_trade`           | `expire_maker`  | `not_seen`                                                    |
| `amend_place`          | `lost`          | `kept`                                                        |
| `amend_left`           | `new_less_filled` | `old_left`                                                  |
| `cancel_early`         | `queued`        | `refused`                                                     |
| `post_only_cross`      | `rejected`      | `expired`                                                     |
| `whole_fills`          | no              | yes in its exchange without partial fills                     |
| `responses`            | `each_execution` | `each_request`                                               |
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from toolkit.errors import ConfigError

__all__ = [
    "PRESETS",
    "AmendLeft",
    "AmendPlace",
    "CancelEarly",
    "CrossedBook",
    "EqualTrade",
    "PostOnlyCross",
    "QueueAfterSnapshot",
    "QueueFront",
    "Responses",
    "Rules",
    "SelfTrade",
    "TakerRest",
    "ThroughTrade",
    "hftbacktest",
    "make_rules",
]


class Choice(enum.StrEnum):
    """A rule with named values; compiled code knows them by their place."""

    @property
    def code(self) -> int:
        """Its place among the values, from 0."""
        return list(type(self)).index(self)


class QueueFront(Choice):
    """
    What the size ahead of a resting order becomes when its level shrinks by more than was traded.

    With b behind, f ahead and n the exponent, `p` is the share of the cancels that was behind.
    """

    #: Every cancel was behind, for as long as there is room behind.
    PESSIMISTIC = "pessimistic"
    #: p = b^n / (b^n + f^n)
    POWER = "power"
    #: p = b^n / (b + f)^n
    POWER2 = "power2"
    #: p = 1 - (f / (f + b))^n
    POWER3 = "power3"
    #: p = ln(1 + b) / (ln(1 + b) + ln(1 + f))
    LOG = "log"
    #: p = ln(1 + b) / ln(1 + b + f)
    LOG2 = "log2"
    #: Where the venue says how many orders a level holds: in proportion to the orders that are ahead.
    COUNT = "count"


class EqualTrade(Choice):
    """A trade that uses up exactly what was ahead."""

    #: Fills nothing: only the next lot is ours.
    NEXT_UNIT = "next_unit"
    #: Fills one lot.
    ENOUGH = "enough"


class ThroughTrade(Choice):
    """A trade at a worse price than ours, which must have passed us."""

    TRADE_SIZE = "trade_size"
    ALL = "all"


class CrossedBook(Choice):
    """The opposite side's best price reaches our order."""

    #: Fills up to the size of the level that reaches it, which is used up by that.
    LEVEL_SIZE = "level_size"
    ALL = "all"


class TakerRest(Choice):
    """What remains of a crossing limit order (GTC) after the levels that it reaches."""

    RESTS = "rests"
    #: Is filled at its limit, whatever the book holds.
    FILLS = "fills"


class QueueAfterSnapshot(Choice):
    """A level that comes with a snapshot which joins the book again, after a gap."""

    #: Says nothing of what was cancelled meanwhile: what is ahead is no more than the new size.
    MIN = "min"
    #: Is a change like any other.
    MODEL = "model"


class SelfTrade(Choice):
    """An own order reaches another own order that rests on the other side."""

    EXPIRE_MAKER = "expire_maker"
    EXPIRE_TAKER = "expire_taker"
    EXPIRE_BOTH = "expire_both"
    #: Own orders do not see each other.
    NOT_SEEN = "not_seen"


class AmendPlace(Choice):
    """The place in the queue of an order that is amended."""

    LOST = "lost"
    #: Kept where the price is the same and the size not larger.
    KEPT = "kept"


class AmendLeft(Choice):
    """What an amended order still has to fill."""

    NEW_LESS_FILLED = "new_less_filled"
    #: In place: the new size; moved: what its sender knew to be left before (hftbacktest 2.4.4).
    OLD_LEFT = "old_left"


class CancelEarly(Choice):
    """A request about an order with another request under way."""

    #: Is sent, and arrives after the other.
    QUEUED = "queued"
    #: Is refused at once, before it is sent.
    REFUSED = "refused"


class PostOnlyCross(Choice):
    """What a post-only order ends as that would have traded."""

    REJECTED = "rejected"
    EXPIRED = "expired"


class Responses(Choice):
    """How the venue answers a request that has several executions; on the receive clock always each execution."""

    EACH_EXECUTION = "each_execution"
    #: One answer, after all of them, which names the last.
    EACH_REQUEST = "each_request"


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The assumptions of a run.

    Attributes:
        queue_front: How a resting order moves forward when its level shrinks.
        queue_power: Exponent of `power`, `power2` and `power3`, above 0.
        unseen: Whether an order outside of the recorded depth waits unseen: only trades through its price reach it,
            and when it comes into sight, no more is ahead than is seen. Without, nothing is ahead of it.
        equal_trade: See `EqualTrade`.
        share_trade: Whether own orders share the size of one trade, by price and place; without, each gets all of it.
        through_trade: See `ThroughTrade`.
        crossed_book: See `CrossedBook`.
        taken_liquidity: Whether what one has taken from a level is gone until that level is set again.
        taker_rest: See `TakerRest`.
        market_reach: How many ticks beyond the best price a market order goes, the best price included (1: the best
            price alone); None for the band of the pair.
        short_buys: Whether a buy walks one tick less far: a limit order (GTC) does not reach its limit before
            `taker_rest`, and a sell at market goes one tick beyond `market_reach`.
        queue_after_snapshot: See `QueueAfterSnapshot`.
        self_trade: See `SelfTrade`.
        amend_place: See `AmendPlace`.
        amend_left: See `AmendLeft`.
        cancel_early: See `CancelEarly`.
        post_only_cross: See `PostOnlyCross`.
        whole_fills: Whether whatever fills an order fills all of it, taker orders at the best price.
        responses: See `Responses`.

    Raises ConfigError for numbers that make no sense.
    """

    queue_front: QueueFront = QueueFront.PESSIMISTIC
    queue_power: float = 1.0
    unseen: bool = True
    equal_trade: EqualTrade = EqualTrade.NEXT_UNIT
    share_trade: bool = True
    through_trade: ThroughTrade = ThroughTrade.TRADE_SIZE
    crossed_book: CrossedBook = CrossedBook.LEVEL_SIZE
    taken_liquidity: bool = True
    taker_rest: TakerRest = TakerRest.RESTS
    market_reach: int | None = None
    short_buys: bool = False
    queue_after_snapshot: QueueAfterSnapshot = QueueAfterSnapshot.MIN
    self_trade: SelfTrade = SelfTrade.EXPIRE_MAKER
    amend_place: AmendPlace = AmendPlace.LOST
    amend_left: AmendLeft = AmendLeft.NEW_LESS_FILLED
    cancel_early: CancelEarly = CancelEarly.QUEUED
    post_only_cross: PostOnlyCross = PostOnlyCross.REJECTED
    whole_fills: bool = False
    responses: Responses = Responses.EACH_EXECUTION

    def __post_init__(self) -> None:
        if not (self.queue_power > 0 and math.isfinite(self.queue_power)):
            raise ConfigError(f"queue_power is {self.queue_power}, expected a number above 0, for instance 3")
        if self.market_reach is not None and self.market_reach < 1:
            raise ConfigError(f"market_reach is {self.market_reach}, expected at least 1 tick: the best price alone")


def hftbacktest(queue: str = "pessimistic", power: float = 1.0, *, partial: bool = True) -> Rules:
    """
    The rules of hftbacktest 2.4.4.

    Args:
        queue: One of `QueueFront`, its `count` excepted, which hftbacktest has not.
        power: Exponent of the power models.
        partial: Its exchange with partial fills, or the one without.
    """
    return Rules(
        queue_front=QueueFront(queue),
        queue_power=power,
        unseen=False,
        share_trade=False,
        through_trade=ThroughTrade.ALL,
        crossed_book=CrossedBook.ALL,
        taken_liquidity=False,
        taker_rest=TakerRest.FILLS,
        market_reach=100,
        short_buys=True,
        self_trade=SelfTrade.NOT_SEEN,
        amend_place=AmendPlace.KEPT,
        amend_left=AmendLeft.OLD_LEFT,
        cancel_early=CancelEarly.REFUSED,
        post_only_cross=PostOnlyCross.EXPIRED,
        whole_fills=not partial,
        responses=Responses.EACH_REQUEST,
    )


PRESETS: Final[Mapping[str, Rules]] = {
    "default": Rules(),
    "hftbacktest": hftbacktest(),
    "hftbacktest-whole": hftbacktest(partial=False),
}


def make_rules(preset: str = "default", settings: Mapping[str, str] | None = None) -> Rules:
    """
    A preset with some rules set, as they are written on a command line.

    Args:
        preset: One of `PRESETS`.
        settings: Rule to value, as text: `{"queue_front": "power3", "queue_power": "3"}`.

    Raises:
        ConfigError: No such preset, rule or value.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no rules {preset!r}, expected one of {', '.join(PRESETS)}")
    known = msgspec.to_builtins(PRESETS[preset])
    for name, text in (settings or {}).items():
        if name not in known:
            raise ConfigError(f"no rule {name!r}, expected one of {', '.join(known)}")
        known[name] = _converted(name, text)
    return msgspec.convert(known, Rules)


_FIELDS: Final = {field.name: field.type for field in msgspec.structs.fields(Rules)}
_WORDS: Final = {"yes": "true", "no": "false", "none": "null"}


def _converted(name: str, text: str) -> Any:
    kind = _FIELDS[name]
    try:
        return msgspec.to_builtins(msgspec.convert(_WORDS.get(text.lower(), text), kind, strict=False))
    except msgspec.ValidationError:
        raise ConfigError(f"rule {name} is {text!r}, expected {_expected(kind)}") from None


def _expected(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Choice):
        return f"one of {', '.join(kind)}"
    return {bool: "yes or no", float: "a number"}.get(kind, "a whole number, or none")
