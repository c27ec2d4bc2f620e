"""
What a venue asks of an account that trades on margin, and what it does where that is not there any more.

Everything here is data of a preset, and the arithmetic that follows from it: exact, in fractions of cash units.
"""

from __future__ import annotations

import enum
import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

import msgspec

from replay.ledger.money import CASH_DECIMALS, FeeRounding, units_of
from toolkit.errors import ConfigError

__all__ = [
    "BandPrice",
    "BandRules",
    "BlockRules",
    "FundingRules",
    "Liquidation",
    "LiquidationOrder",
    "LiquidationRules",
    "MarginMode",
    "MarginRules",
    "MarginTier",
    "MarginTiers",
    "PriceBand",
    "ReferencePrice",
    "SwitchRules",
    "TriggerRules",
    "TwapRules",
]


class ReferencePrice(enum.StrEnum):
    """A price that a venue states of a contract."""

    #: What positions are valued at.
    MARK = "mark"
    #: Of the underlying: index or oracle.
    INDEX = "index"
    #: Of the newest trade.
    LAST = "last"


class MarginMode(enum.StrEnum):
    """What stands for a position."""

    #: All of the account in its currency.
    CROSS = "cross"
    #: What was set aside for it, and no more.
    ISOLATED = "isolated"


class TriggerRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    Orders that wait until a price is reached.

    Attributes:
        price: Price that wakes them, where an order does not say.
        others: Prices that an order may name besides.
        refuses_passed: Whether one whose price is reached already is refused; else it wakes at once.
    """

    price: ReferencePrice
    others: tuple[ReferencePrice, ...] = ()
    refuses_passed: bool = True

    @property
    def prices(self) -> tuple[ReferencePrice, ...]:
        """All that there are."""
        return (self.price, *self.others)


class BandPrice(enum.StrEnum):
    """What a limit may not be too far from."""

    #: The venue's mark price.
    MARK = "mark"
    #: The middle of the book, which stands for a mean price of the last minutes.
    MIDDLE = "middle"


class PriceBand(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far a limit may be from a price, as multiples of it.

    Attributes:
        up: Highest multiple.
        down: Lowest multiple.
    """

    up: Decimal
    down: Decimal

    def __post_init__(self) -> None:
        if not 0 <= self.down <= 1 <= self.up:
            raise ConfigError(f"a price band from {self.down} to {self.up}, expected from 0 to 1, and from 1 on")


class BandRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    The bands of a venue.

    Attributes:
        price: Price that they are around.
        is_one_sided: Whether a buy may be as low, and a sell as high as it likes.
        usual: Band of all pairs that are not named; None: not known.
        pairs: Bands of others, by pair.
    """

    price: BandPrice
    is_one_sided: bool = False
    usual: PriceBand | None = None
    pairs: Mapping[str, PriceBand] = {}

    def bounds(self, pair: str, side: int) -> tuple[float, float]:
        """Lowest and highest multiple for a limit of a pair, 0 to buy or 1 to sell; from 0 to infinity where none is known."""
        band = self.pairs.get(pair, self.usual)
        if band is None:
            return 0.0, math.inf
        is_buy = side == 0
        low = 0.0 if self.is_one_sided and is_buy else float(band.down)
        return low, math.inf if self.is_one_sided and not is_buy else float(band.up)

    def around(self, share: Decimal) -> BandRules:
        """The same with a share of the price, up and down, for all pairs."""
        return msgspec.structs.replace(self, usual=PriceBand(up=1 + share, down=max(Decimal(0), 1 - share)), pairs={})


class Lived(Protocol):
    """What of an order says how long it lives: its last block, 0 for none, when it was sent, and when it ends."""

    good_til: int
    sent_ns: int
    expires_ns: int | None


class BlockRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    A venue that works in blocks: some of what arrives within one is there with its end, and so after the rest of it.

    Attributes:
        late: Kinds of requests that wait for the end of their block: orders by their time in force (those at market are
            `ioc`), and `cancel`.
        short_term_blocks: An order that expires within so many blocks is not late, whatever its time in force; nor is what is
            asked of it. For so many blocks at most an order may be good; 0: there are no such orders.
        best_effort_cancels: Whether an order that expires within so many blocks may still be matched after it was cancelled.
        cancel_blocks: For how many blocks after that in which its cancel arrives it may, if it does not expire before; None:
            until it expires.
        length_ns: Length of a block; blocks begin at its multiples since the epoch. 0: not known, and nothing is late.
    """

    late: tuple[str, ...]
    short_term_blocks: int = 0
    best_effort_cancels: bool = False
    cancel_blocks: int | None = None
    length_ns: int = 0

    def block_of(self, at_ns: int) -> int:
        """The number of the block that a time is in."""
        return at_ns // self.length_ns

    def end_of(self, at_ns: int) -> int:
        """The end of the block that a time is in."""
        return (at_ns // self.length_ns + 1) * self.length_ns

    def is_short(self, order: Lived) -> bool:
        """Whether an order is good for a few blocks alone: it says so, or expires within as many."""
        if order.good_til:
            return True
        expires_ns = order.expires_ns
        return expires_ns is not None and expires_ns - order.sent_ns <= self.short_term_blocks * self.length_ns

    def gone_ns(self, at_ns: int, expires_ns: int) -> int:
        """When an order can no longer be matched whose cancel arrives at a time."""
        if self.cancel_blocks is None:
            return expires_ns
        return min(expires_ns, (at_ns // self.length_ns + 1 + self.cancel_blocks) * self.length_ns)


class SwitchRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    The dead man's switch of a venue: all orders are cancelled at a time, unless it is set again before.

    Attributes:
        least_ns: How far ahead it has to be set.
        acts_per_day: How often it may act in a UTC day; None: as often as it is set.
    """

    least_ns: int = 0
    acts_per_day: int | None = None


class TwapRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    Orders that a venue works off over a length of time, in equal parts.

    Attributes:
        every_ns: Time between two parts.
        slippage_max: How much worse than the mark price a part may be, a share of it.
        catch_up: A part that makes up for earlier ones is at most so many times as large.
    """

    every_ns: int
    slippage_max: Decimal
    catch_up: int = 1


class FundingRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    How funding is settled.

    Attributes:
        price: Price that, times the size, the rate is taken of.
        interval_ns: Time between two settlements where messages do not say; they stand at its multiples since the epoch.
        decimals: Digits after the point of a payment.
        rounding: How it gets there.
    """

    price: ReferencePrice
    interval_ns: int
    decimals: int
    rounding: FeeRounding

    def __post_init__(self) -> None:
        if self.interval_ns <= 0:
            raise ConfigError(f"funding every {self.interval_ns} ns, expected a length above 0")


class MarginTier(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is asked of a position from a value on.

    Attributes:
        floor: Value of the position from which on it holds, in the currency of settlement.
        leverage: Highest leverage.
        rate: Maintenance margin, a share of what is above the floor.
    """

    floor: Decimal
    leverage: Decimal
    rate: Decimal


class MarginTiers:
    """
    The tiers of one contract.

    Args:
        tiers: The first from 0 on, each with less leverage and a higher rate than the one before.

    Raises ConfigError for others.

    Attributes:
        tiers: Tiers as given.
        steps: Rate of each, and what is taken off its product, in units of cash, so that nothing jumps at a floor.
    """

    __slots__ = ("_floors", "steps", "tiers")

    def __init__(self, tiers: tuple[MarginTier, ...]) -> None:
        floors = [tier.floor for tier in tiers]
        if not floors or floors[0] != 0 or any(low >= high for low, high in itertools.pairwise(floors)):
            raise ConfigError(f"margin tiers begin at {floors}, expected values that ascend from 0")
        for tier in tiers:
            if not 0 < tier.rate < 1 or tier.leverage < 1 or tier.rate * tier.leverage > 1:
                raise ConfigError(
                    f"a margin tier with leverage {tier.leverage} and maintenance {tier.rate}, expected a leverage of 1"
                    " or more and a maintenance of at most 1 / leverage"
                )
        self.tiers = tiers
        self._floors = [units_of(tier.floor, CASH_DECIMALS) for tier in tiers]
        self.steps: list[tuple[Fraction, Fraction]] = []
        less, before = Fraction(0), Fraction(0)
        for tier, floor in zip(tiers, self._floors, strict=True):
            rate = Fraction(tier.rate)
            less += floor * (rate - before)
            before = rate
            self.steps.append((rate, less))

    def maintenance(self, value: int) -> Fraction:
        """Maintenance margin of a position of that value, both in units of cash."""
        rate, less = self.rate(value)
        return value * rate - less

    def rate(self, value: int) -> tuple[Fraction, Fraction]:
        """Rate of a position of that value, and what is taken off its product, in units of cash."""
        return self.steps[self._place(value)]

    def leverage_max(self, value: int) -> Decimal:
        """Highest leverage of a position of that value."""
        return self.tiers[self._place(value)].leverage

    def _place(self, value: int) -> int:
        """The place of the tier that a value is in."""
        return max(bisect_right(self._floors, value) - 1, 0)


class MarginRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    Margin at a venue.

    Attributes:
        price: Price that positions are valued at, of those the venue states.
        modes: Margin modes that there are.
        maintenance_share: Maintenance margin over the initial margin at the highest leverage, where a recording says that
            leverage and no table fits; None: not known.
        tables: Tiers by pair.
        isolated_funding: Whether funding of an isolated position moves what was set aside for it; else the account's cash.
    """

    price: ReferencePrice
    modes: tuple[MarginMode, ...]
    maintenance_share: Decimal | None = None
    tables: Mapping[str, tuple[MarginTier, ...]] = {}
    isolated_funding: bool = True

    def tiers_of(
        self, pair: str, leverage_max: float | None, *, maintenance: Decimal | None = None
    ) -> MarginTiers | None:
        """
        The tiers of a pair; None where neither file nor recording say them.

        Args:
            pair: Its name.
            leverage_max: Highest leverage as recorded; a table that begins with another is of another time.
            maintenance: Rate that is assumed in place of all that.
        """
        table = self.tables.get(pair)
        most = None if leverage_max is None or leverage_max < 1 else Decimal(repr(float(leverage_max)))
        if maintenance is not None:
            highest = most if most is not None and most * maintenance <= 1 else 1 / maintenance
            return MarginTiers((MarginTier(floor=Decimal(0), leverage=highest, rate=maintenance),))
        if table is not None and (most is None or most == table[0].leverage):
            return MarginTiers(table)
        if most is None or self.maintenance_share is None:
            return None
        rate = (self.maintenance_share / most).quantize(Decimal("1e-12"))
        return MarginTiers((MarginTier(floor=Decimal(0), leverage=most, rate=rate),))


class LiquidationOrder(enum.StrEnum):
    """How far the order of a liquidation goes; beyond what stands for the position the venue pays, and takes it over."""

    #: Until nothing is left.
    BANKRUPTCY = "bankruptcy"
    #: As far as a formula allows: from the mark towards bankruptcy, the further the less margin is left.
    FILLABLE = "fillable"


class LiquidationRules(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a venue does with an account that has less than its maintenance margin.

    Attributes:
        order: How far its order goes.
        spread_share: Share of `fillable`: the spread over the maintenance rate.
        cancels_orders: Whether own orders are cancelled first.
        has_taker_fee: Whether the order pays the account's taker fee.
        fee: Share of the value that the order costs besides, as far as there is something left.
        partial_above: Value of a position above which only a part is liquidated first; None: always all.
        partial_share: Share of the position that is closed first.
        pause_ns: Time after a part in which nothing is liquidated; then it is all of it.
        backstop_share: Share of the maintenance margin below which the venue takes the positions over at once, with all
            that is left; at 0 where nothing is left.
        takes_rest: Whether what the order does not find is taken over at the price of bankruptcy at once; else the venue
            tries again at the next price.
    """

    order: LiquidationOrder
    spread_share: Decimal = Decimal(0)
    cancels_orders: bool = True
    has_taker_fee: bool = True
    fee: Decimal = Decimal(0)
    partial_above: Decimal | None = None
    partial_share: Decimal = Decimal(1)
    pause_ns: int = 0
    backstop_share: Decimal = Decimal(0)
    takes_rest: bool = True


class Liquidation(msgspec.Struct, frozen=True, gc=False):
    """
    One step of a liquidation.

    Attributes:
        time_ns: When.
        pair: Place of the pair.
        what: `order`, or `takeover` by the venue.
        mark_price: Mark price that it was found by.
        equity: Equity that stood for the position, in the currency of settlement.
        maintenance: Maintenance margin that it needed; rounded to 12 digits.
        size: Signed size of what was to be closed.
        price: Worst price of the order, or that of the takeover; None: the order went as far as the book did.
    """

    time_ns: int
    pair: int
    what: str
    mark_price: str
    equity: str
    maintenance: str
    size: str
    price: str | None
