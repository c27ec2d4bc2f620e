"""
Whole numbers for money: what contracts are worth, what venues take, and how they round.

Sizes are counted in units of 10**-12, prices of 10**-18, cash of 10**-30 of its currency, so that the price times the size
of every execution is a whole number. No unit depends on tick or lot, which a live session learns while it runs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from fractions import Fraction
from functools import lru_cache
from typing import Final

from replay.market.layout import Role
from toolkit.errors import ConfigError

__all__ = [
    "CASH_DECIMALS",
    "PRICE_DECIMALS",
    "SIZE_DECIMALS",
    "Arithmetic",
    "Contract",
    "ContractKind",
    "FeeRounding",
    "Fees",
    "Rounding",
    "amount",
    "decimals_of",
    "divide",
    "price_of",
    "price_units",
    "rate_units",
    "rounded_share",
    "size_of",
    "units_of",
]

#: Digits after the point of the units of sizes, prices and cash. Venues give up to 8 for a size and 10 for a price.
SIZE_DECIMALS: Final = 12
PRICE_DECIMALS: Final = 18
CASH_DECIMALS: Final = SIZE_DECIMALS + PRICE_DECIMALS
#: A venue's fee has no more than its currency's smallest part.
_FEE_DECIMALS_MAX: Final = 18
#: Rates are whole numbers of 10**-12: a hundred-millionth of a basis point.
_RATE_DECIMALS: Final = 12
_RATE_UNIT: Final = 10**_RATE_DECIMALS
_PRICE_UNIT: Final = 10**PRICE_DECIMALS
#: What the fixed worth of a unit of size is counted in, over units of price: see `Arithmetic`.
_INVERSE_SHIFT: Final = 10 ** (CASH_DECIMALS + PRICE_DECIMALS - SIZE_DECIMALS - PRICE_DECIMALS)
_EXACT: Final = Context(prec=2000, traps=[Inexact, InvalidOperation, Overflow])


class ContractKind(enum.StrEnum):
    """What one buys."""

    #: Profit in the quote currency, in proportion to the price.
    LINEAR = "linear"
    #: Contracts of a fixed value in the quote currency; profit in the base currency.
    INVERSE = "inverse"
    #: The thing itself.
    SPOT = "spot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """
    What one unit of size stands for.

    Attributes:
        kind: Kind of the contract: linear, inverse or spot.
        settle: Currency of cash, fees and profit; of spot the quote currency.
        base: Base currency, of spot what a position holds.
        contract_value: Quote currency that one unit of size of an inverse contract stands for; else None.

    Raises ConfigError where kind and contract value do not go together.
    """

    kind: ContractKind
    settle: str
    base: str = ""
    contract_value: Decimal | None = None

    def __post_init__(self) -> None:
        is_inverse = self.kind is ContractKind.INVERSE
        value = self.contract_value
        if is_inverse and (value is None or not (value.is_finite() and value > 0)):
            raise ConfigError(
                f"contract value of an inverse contract is {value}, expected a number above 0, for instance 100"
            )
        if not is_inverse and value is not None:
            raise ConfigError(f"contract value {value} of a {self.kind} contract, expected none")
        if not self.settle:
            raise ConfigError("a contract settles in no currency; give one, for instance --assume settle=USDT")


class FeeRounding(enum.StrEnum):
    """How a venue rounds a fee to its unit."""

    #: To the nearest, ties to the even one.
    HALF_EVEN = "half_even"
    #: Towards zero: 0.0099979 is 0.009997, and a rebate shrinks as well.
    CUT = "cut"
    #: Up: a fee grows, a rebate shrinks.
    UP = "up"


@dataclass(frozen=True, slots=True)
class Rounding:
    """
    Whole steps of money.

    Attributes:
        decimals: Digits after the point.
        mode: How an amount gets there.

    Raises ConfigError for more digits than any currency has.
    """

    decimals: int
    mode: FeeRounding
    #: One step, in units of cash.
    unit: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", 10 ** max(0, CASH_DECIMALS - self.decimals))
        if not 0 <= self.decimals <= _FEE_DECIMALS_MAX:
            raise ConfigError(f"amounts have {self.decimals} decimals, expected 0 to {_FEE_DECIMALS_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """
    What a venue takes of the worth of an execution.

    Attributes:
        maker: Fraction of it, negative for a rebate: 0.00015 is 1.5 basis points.
        taker: Fee of a taker, likewise.
        decimals: Digits after the point of a fee, in the currency in which it is taken.
        rounding: How it gets there.
        in_kind: Whether a buyer of a spot pair pays in what is bought: it is taken off, and less is held.

    Raises ConfigError for a rate that is no number, is 1 or more, or has more than 12 digits after the point.
    """

    maker: Decimal
    taker: Decimal
    decimals: int = 8
    rounding: FeeRounding = FeeRounding.HALF_EVEN
    in_kind: bool = False

    def __post_init__(self) -> None:
        for name, rate in (("maker", self.maker), ("taker", self.taker)):
            if not rate.is_finite() or not -1 < rate < 1 or decimals_of(rate) > _RATE_DECIMALS:
                raise ConfigError(
                    f"{name} fee is {rate}, expected a fraction below 1 of at most {_RATE_DECIMALS} decimals,"
                    " for instance 0.00045 for 4.5 basis points"
                )
        if not 0 <= self.decimals <= _FEE_DECIMALS_MAX:
            raise ConfigError(f"fees have {self.decimals} decimals, expected 0 to {_FEE_DECIMALS_MAX}")

    def rate(self, role: int) -> Decimal:
        """That of a `Role`."""
        return self.maker if role == Role.MAKER else self.taker


class Arithmetic:
    """The arithmetic of one pair."""

    __slots__ = ("_fixed", "_size_step", "_step", "funding", "lot", "pays_in_kind", "rates", "tick")

    def __init__(
        self, contract: Contract, fees: Fees, tick: Decimal, lot: Decimal, funding: Rounding | None = None
    ) -> None:
        self.tick = units_of(tick, PRICE_DECIMALS)
        self.lot = units_of(lot, SIZE_DECIMALS)
        self.rates: dict[int, int] = {Role.MAKER: rate_units(fees.maker), Role.TAKER: rate_units(fees.taker)}
        self._step = Rounding(fees.decimals, fees.rounding)
        #: Whether what is bought pays the fee itself; and the same steps, in units of size.
        self.pays_in_kind = fees.in_kind and contract.kind is ContractKind.SPOT
        self._size_step = 10 ** max(0, SIZE_DECIMALS - fees.decimals)
        #: The same of funding payments.
        self.funding = self._step if funding is None else funding
        # Units of cash times units of price that a unit of size of an inverse contract is; 0: it is linear.
        value = contract.contract_value
        shift = CASH_DECIMALS + PRICE_DECIMALS - SIZE_DECIMALS
        self._fixed = 0 if value is None else units_of(value, shift)

    def worth(self, size: int, price: int) -> int:
        """Of a signed size at a price, in units."""
        # Halves are rounded to the even one, so that buying and selling the same is worth the same.
        return size * price if not self._fixed else -divide(size * self._fixed, price)

    def price_of(self, size: int, worth: int) -> Fraction:
        """The price at which so much size is worth so much."""
        units = Fraction(worth, size) if not self._fixed else Fraction(-size * self._fixed, worth)
        return units / _PRICE_UNIT

    def near_price_of(self, size: int, worth: int) -> float:
        """The same as the float64 next to it: a quotient of whole numbers is rounded once, however long they are."""
        over, under = (worth, size) if not self._fixed else (-size * self._fixed, worth)
        return over / (under * _PRICE_UNIT)

    def quote_value(self, size: int, price: int) -> int:
        """Of a size at a price, positive, in units of cash of the quote currency, whatever the contract settles in."""
        return abs(size) * (self._fixed // _INVERSE_SHIFT if self._fixed else price)

    def price_at(self, size: int, worth: int, *, up: bool) -> int | None:
        """The price, in units, at which so much size is worth so much, rounded up or down; None: at no price above 0."""
        over, under = (worth, size) if not self._fixed else (-size * self._fixed, worth)
        if not under or (over > 0) != (under > 0):
            return None
        quotient, rest = divmod(abs(over), abs(under))
        return quotient + 1 if rest and up else quotient or None

    def rounded(self, worth: int, rate: int, step: Rounding | None = None) -> int:
        """A share of what something is worth, in the venue's steps of fees, or in others."""
        return rounded_share(worth, rate, self._step if step is None else step)

    def size_kept_back(self, size: int, rate: int) -> int:
        """What of a size that is bought pays the fee, in units of size, in the venue's steps; negative: it is added."""
        return _rounded(size * rate, self._size_step, self._step.mode)

    def rate_for(self, worth: int, most: int) -> int:
        """The rate, in units of 10**-12, by which a fee on something of that worth is no more than so many units of cash."""
        return max(0, most) // self._step.unit * self._step.unit * _RATE_UNIT // worth


def rounded_share(worth: int, rate: int, step: Rounding) -> int:
    """A share of what something is worth, in units of cash, the rate in units of 10**-12, in whole steps."""
    return _rounded(worth * rate, step.unit, step.mode)


def _rounded(over: int, unit: int, mode: FeeRounding) -> int:
    """An amount in units of 10**-12 as one in whole steps of so many units."""
    under = _RATE_UNIT * unit
    match mode:
        case FeeRounding.HALF_EVEN:
            steps = divide(over, under)
        case FeeRounding.CUT:
            steps = over // under if over >= 0 else -(-over // under)
        case FeeRounding.UP:
            steps = -(-over // under)
    return steps * unit


def divide(over: int, under: int) -> int:
    """A quotient rounded to the nearest whole number, ties to the even one; the divisor is above 0."""
    quotient, rest = divmod(over, under)
    twice = 2 * rest
    return quotient + 1 if twice > under or (twice == under and quotient & 1) else quotient


@lru_cache(1024)
def amount(units: int) -> Decimal:
    """Units of cash as an amount, exactly."""
    return _EXACT.scaleb(Decimal(units), -CASH_DECIMALS).normalize(_EXACT)


def size_of(units: int) -> Decimal:
    """Units of size as a size, exactly."""
    return _EXACT.scaleb(Decimal(units), -SIZE_DECIMALS).normalize(_EXACT)


def price_of(units: int) -> Decimal:
    """Units of price as a price, exactly."""
    return _EXACT.scaleb(Decimal(units), -PRICE_DECIMALS).normalize(_EXACT)


def price_units(price: Decimal | Fraction | float) -> int:
    """
    A price in units, rounded half to even; a float stands for the shortest decimal that it is the float64 of.

    Raises ValueError for what is no number.
    """
    exact_price = Decimal(repr(price)) if isinstance(price, float) else price
    if isinstance(exact_price, Decimal) and not exact_price.is_finite():
        raise ValueError(f"{price} is no price")
    over, under = exact_price.as_integer_ratio()
    return divide(over * 10**PRICE_DECIMALS, under)


def rate_units(rate: Decimal) -> int:
    """A rate in units of 10**-12, rounded half to even."""
    over, under = rate.as_integer_ratio()
    return divide(over * _RATE_UNIT, under)


def decimals_of(value: Decimal) -> int:
    """Digits after the point that it takes to write it."""
    exponent = value.normalize(_EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def units_of(value: Decimal, decimals: int) -> int:
    """As a whole number of 10**-decimals; it is one."""
    return int(_EXACT.to_integral_exact(_EXACT.scaleb(value, decimals)))
