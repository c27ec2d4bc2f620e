"""
The money of an account, in whole numbers: cash, fees, funding, positions, profit.

Sizes are counted in units of 10**-12, prices of 10**-18, cash of 10**-30 of its currency, so that the price times the size
of every execution, and of every position at its mark, is a whole number. Nothing is rounded but what a venue rounds, and at
every event, exactly:

- cash = start - worth of what was bought (less of what was sold) - fees that are paid in cash + funding + transfers;
- what is held = bought - sold - fees that are paid in kind;
- equity = cash + worth of the positions at their marks;
- equity = start + realized + unrealized profit - fees + funding + transfers.

A fee in kind is a part of what is bought on a spot pair, which is not received. It is counted at the price of the execution,
as if it had been sold for the fee; the price times any size is a whole number, so that is exact too.

Python's integers have no upper end, so nothing overflows. Nor does a unit depend on tick or lot, which a live session learns
while it runs, and a venue may change.

What size is worth at a price is `size * price` for linear contracts and spot, in the quote currency. An inverse contract
is worth a fixed sum of the quote currency and settles in the base: its worth is `-size * contract_value / price`, which is no
whole number of anything and is rounded, half to even, to the unit.

The entry price is that of average cost. It is kept as the worth of the open position at entry, a whole number; closing a part
takes its share of that away, rounded half to even to the unit, so that what is realized and what stays open always add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

import msgspec

from replay.ledger.money import (
    CASH_DECIMALS,
    PRICE_DECIMALS,
    SIZE_DECIMALS,
    Arithmetic,
    Contract,
    Fees,
    Rounding,
    decimals_of,
    divide,
    price_units,
    rate_units,
    units_of,
)
from replay.market.layout import BUY, SELL, Role
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

__all__ = ["Account", "Ledger", "LedgerEntry", "LedgerMarket", "Position"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerMarket:
    """
    What the ledger has to know of a pair before it can take an execution.

    Attributes:
        key: Venue and pair, for messages.
        contract: Currencies and value of one unit; None where that is not known yet.
        fees: Fees of the pair; None likewise.
        tick: Step of the prices that it is given.
        lot: Step of the sizes.
        account: Name of the account it settles in; empty for the currency's.
        funding_rounding: How a funding payment is rounded; None: as fees are.

    Raises ConfigError for a step that is not above 0 or too fine.
    """

    key: PairKey
    contract: Contract | None = None
    fees: Fees | None = None
    tick: Decimal | None = None
    lot: Decimal | None = None
    account: str = ""
    funding_rounding: Rounding | None = None

    def __post_init__(self) -> None:
        for name, step, most in (("tick", self.tick, PRICE_DECIMALS - 1), ("lot", self.lot, SIZE_DECIMALS)):
            if step is not None and not (step.is_finite() and step > 0 and decimals_of(step) <= most):
                raise ConfigError(
                    f"{self.key}: {name} is {step}, expected a number above 0 of at most {most} decimals,"
                    f" for instance {name}=0.1"
                )


class LedgerEntry(msgspec.Struct, frozen=True, gc=False):
    """
    What one execution did. Money in units of the currency of settlement, sizes in units.

    Attributes:
        number: Number from 0, in the order of executions.
        time_ns: When.
        pair: Place of the pair.
        side: 0 buy, 1 sell.
        price: Price in units.
        size: Size in units.
        role: A `Role`.
        worth: Worth of what was bought at that price; negative: sold. Cash fell by it.
        fee: Fee that was paid; negative: a rebate. Of a fee in kind its worth at that price.
        realized: Profit that it realized, without the fee.
        position_before: Held before, negative: short.
        position: After.
        open_worth: Worth of the position at entry, after.
        cash: After.
        fee_size: Size that was taken off what was bought, for the fee; 0: it was paid in cash.
    """

    number: int
    time_ns: int
    pair: int
    side: int
    price: int
    size: int
    role: int
    worth: int
    fee: int
    realized: int
    position_before: int
    position: int
    open_worth: int
    cash: int
    fee_size: int = 0


@dataclass(slots=True)
class Position:
    """
    One pair. Money in units of its currency of settlement, sizes and the price in theirs.

    Attributes:
        size: Held; negative: short.
        open_worth: Worth of that at entry.
        realized: Profit so far, without fees and funding.
        fees: Paid so far, with what those in kind were worth.
        funding: Received so far; negative: paid.
        bought: Size bought in all, with what of it has paid fees.
        sold: Size sold in all.
        fees_size: Size, of what was bought, that has paid fees.
        turnover: Worth of all executions, each positive.
        mark: Price that it is valued at; None before there is one.
    """

    size: int = 0
    open_worth: int = 0
    realized: int = 0
    fees: int = 0
    funding: int = 0
    bought: int = 0
    sold: int = 0
    fees_size: int = 0
    turnover: int = 0
    mark: int | None = None


@dataclass(slots=True)
class Account:
    """
    Cash in one currency, in units.

    Attributes:
        name: Name of the account.
        asset: The currency.
        start: Cash at the start.
        cash: Cash now, after what positions cost.
        fees: Fees paid so far, with the worth of those in kind.
        fees_in_kind: The worth of those in kind: cash did not pay them.
        funding: Received so far.
        transfers: Deposits less withdrawals.
        pairs: Places of the pairs that settle in it.
    """

    name: str
    asset: str
    start: int = 0
    cash: int = 0
    fees: int = 0
    fees_in_kind: int = 0
    funding: int = 0
    transfers: int = 0
    pairs: list[int] = field(default_factory=list)


class Ledger:
    """
    Counts what executions, funding and transfers do to an account.

    Args:
        markets: The pairs, named by their places from here on; what is not known of one is given by `define`.
        capital: Capital at the start, by name of an account, or by currency for each account in it.

    Raises ConfigError for capital that is no number.

    Attributes:
        markets: Contract, fees and steps of each pair.
        accounts: Accounts by name.
        positions: Positions by place of the pair.
        executions: How many there were.
    """

    def __init__(self, markets: Sequence[LedgerMarket], capital: Mapping[str, Decimal] | None = None) -> None:
        self.markets = list(markets)
        self.positions = [Position() for _ in self.markets]
        self.accounts: dict[str, Account] = {}
        self.executions = 0
        self._capital = {name: _capital(name, given) for name, given in (capital or {}).items()}
        self._sums: list[Arithmetic | None] = [None] * len(self.markets)
        self._of_pair: list[Account | None] = [None] * len(self.markets)
        for place, market in enumerate(self.markets):
            self.define(place, market)
        # Capital in a currency that nothing settles in stays as it is.
        is_known = all(market.contract is not None for market in self.markets)
        for name in self._capital if is_known else ():
            if name not in {account.asset for account in self.accounts.values()}:
                self._open(name, name)

    def define(self, pair: int, market: LedgerMarket) -> None:
        """
        Tell what a pair is, or what its tick, lot or fees are from now on.

        Raises ConfigError for another contract than the one that was traded.
        """
        traded = self._sums[pair]
        if traded is not None and market.contract != self.markets[pair].contract and self.positions[pair].turnover:
            raise ConfigError(f"{market.key}: its contract changed while it was traded, which no position survives")
        self.markets[pair] = market
        if market.contract is None or market.fees is None or market.tick is None or market.lot is None:
            return
        self._sums[pair] = Arithmetic(market.contract, market.fees, market.tick, market.lot, market.funding_rounding)
        account = self._open(market.account or market.contract.settle, market.contract.settle)
        if self._of_pair[pair] is not account:
            for other in self.accounts.values():
                other.pairs = [each for each in other.pairs if each != pair]
            account.pairs = sorted([*account.pairs, pair])
            self._of_pair[pair] = account

    def check_capital(self, *, needs_some: bool = False) -> None:
        """
        Hold capital against the accounts there are; the contracts of all pairs have to be known.

        Args:
            needs_some: Whether there has to be any, since positions are held against it.

        Raises ConfigError for a currency that nothing settles in, which would be counted nowhere, and where some is needed.
        """
        accounts = self.accounts.values()
        known = {*self.accounts, *(account.asset for account in accounts)}
        for name in self._capital:
            if name not in known:
                there = " and ".join(sorted({account.asset for account in accounts}))
                raise ConfigError(f"capital in {name}, in which nothing settles here: expected {there}")
        if needs_some and accounts and not any(account.start for account in accounts):
            there = next(iter(accounts)).asset
            raise ConfigError(
                "leverage without capital, so every order lacks its margin: give some, for instance"
                f" --capital {there}=10000"
            )

    def _open(self, name: str, asset: str) -> Account:
        account = self.accounts.get(name)
        if account is None:
            start = self._capital.get(name, self._capital.get(asset, 0))
            account = self.accounts[name] = Account(name, asset, start, start)
        return account

    # -- what happens ----------------------------------------------------------------------------------------------

    def execute(
        self, pair: int, side: int, tick: int, lots: int, role: int, time_ns: int, *, rate: int | None = None
    ) -> LedgerEntry:
        """
        Take in an execution.

        Args:
            pair: Place of the pair.
            side: `BUY` or `SELL`.
            tick: Its price, in ticks as they are now; above 0 for an inverse contract.
            lots: Its size, above 0.
            role: `Role.MAKER` or `Role.TAKER`.
            time_ns: When.
            rate: Fee of the execution, in units of 10**-12 of its worth; None: the pair's fee.

        Raises ValueError for what no execution is, or of a pair of which too little is known.
        """
        if lots <= 0 or side not in (BUY, SELL) or role not in (Role.MAKER, Role.TAKER):
            raise ValueError(f"no execution: side {side}, {lots} lots, role {role}")
        sums = self._known(pair)[0]
        return self.execute_at(pair, side, tick * sums.tick, lots * sums.lot, role, time_ns, rate=rate)

    def execute_at(
        self, pair: int, side: int, price: int, size: int, role: int, time_ns: int, *, rate: int | None = None
    ) -> LedgerEntry:
        """Take in an execution at a price that need be no tick, both it and the size in units; as `execute`."""
        sums, account = self._known(pair)
        position = self.positions[pair]
        signed = size if side == BUY else -size
        worth = sums.worth(signed, price)
        rate = sums.rates[role] if rate is None else rate
        fee_size, kept = 0, worth
        if sums.pays_in_kind and side == BUY:
            fee_size = sums.size_kept_back(size, rate)
            fee = sums.worth(fee_size, price)
            signed, kept = signed - fee_size, worth - fee
            account.fees_in_kind += fee
            account.cash += fee
        else:
            fee = sums.rounded(abs(worth), rate)
        before = position.size
        realized = 0
        if before and (before > 0) != (signed > 0):
            closed = min(abs(signed), abs(before))
            closed_worth = kept if closed == abs(signed) else sums.worth(closed if signed > 0 else -closed, price)
            entered = divide(position.open_worth * closed, abs(before))
            realized = -closed_worth - entered
            position.open_worth += kept - closed_worth - entered
        else:
            position.open_worth += kept
        position.size = before + signed
        position.fees_size += fee_size
        position.realized += realized
        position.fees += fee
        position.turnover += abs(worth)
        if side == BUY:
            position.bought += size
        else:
            position.sold += size
        account.cash -= worth + fee
        account.fees += fee
        number, self.executions = self.executions, self.executions + 1
        return LedgerEntry(
            number,
            time_ns,
            pair,
            side,
            price,
            size,
            role,
            worth,
            fee,
            realized,
            before,
            position.size,
            position.open_worth,
            account.cash,
            fee_size,
        )

    def mark(self, pair: int, price: Decimal | Fraction | float) -> None:
        """
        Value a pair's position at this price from now on.

        Args:
            pair: Place of the pair.
            price: Price in the quote currency; rounded half to even to the unit of prices. A float stands for the
                shortest decimal that it is the float64 of.

        Raises ValueError for a price that is not above 0.
        """
        self._mark(pair, price_units(price))

    def mark_mid(self, pair: int, bid_tick: int, ask_tick: int) -> None:
        """Value it in the middle between two prices, exactly. Raises ValueError for one that is not above 0."""
        sums, _ = self._known(pair)
        self._mark(pair, (bid_tick + ask_tick) * sums.tick // 2)  # a tick is an even number of units

    def gain_by_mid(self, pair: int) -> Callable[[int], int]:
        """
        Equity less what was deposited, of the account that a pair settles in, by the sum of bid and ask in ticks.

        It holds as long as nothing else changes.
        """
        sums, account = self._known(pair)
        size, tick, worth = self.positions[pair].size, sums.tick, sums.worth
        rest = account.cash - account.transfers + sum(self.worth(place) for place in account.pairs if place != pair)
        return lambda ticks: rest + worth(size, ticks * tick // 2)

    def _mark(self, pair: int, units: int) -> None:
        if units <= 0:
            raise ValueError(f"{self.markets[pair].key}: no mark price of {units} units")
        self.positions[pair].mark = units

    def fund(
        self, pair: int, rate: Decimal, price: Decimal | Fraction | float | None = None, *, size: int | None = None
    ) -> int:
        """
        Settle funding: longs pay where the rate is positive.

        Args:
            pair: Place of the pair.
            rate: Fraction of the position's worth, of at most 12 decimals; what is finer is rounded half to even.
            price: Price as `mark` has it; None for the mark itself.
            size: Size of the position that it is settled on, in units; None: as it is now.

        Returns:
            What was received, in units; negative: paid. Rounded in the pair's way, seen as something that is paid.

        Raises ValueError without a price.
        """
        units = self.positions[pair].mark if price is None else price_units(price)
        if units is None:
            raise ValueError(f"{self.markets[pair].key}: no mark price to pay funding on")
        received = self.funding_of(pair, rate, units, self.positions[pair].size if size is None else size)
        self.book_funding(pair, received)
        return received

    def funding_of(self, pair: int, rate: Decimal, price: int, size: int) -> int:
        """What a position of that size would receive at a price, all in units; nothing is booked."""
        sums = self._known(pair)[0]
        # A long position in an inverse contract has a negative worth in its currency and pays all the same.
        worth = abs(sums.worth(size, price))
        return -sums.rounded(worth if size > 0 else -worth, rate_units(rate), sums.funding)

    def book_funding(self, pair: int, received: int) -> None:
        """Take in a funding payment, in units."""
        account = self._known(pair)[1]
        self.positions[pair].funding += received
        account.funding += received
        account.cash += received

    def transfer(self, name: str, moved: Decimal) -> int:
        """
        Deposit cash into an account, or with a negative amount withdraw it; the units moved.

        Raises ConfigError for an account that is not there, or an amount that is no number or finer than the unit.
        """
        account = self.accounts.get(name)
        if account is None:
            raise ConfigError(f"no account {name!r}, expected one of {', '.join(self.accounts) or 'none'}")
        if not moved.is_finite() or decimals_of(moved) > CASH_DECIMALS:
            raise ConfigError(
                f"{moved} {account.asset} cannot be moved, expected a number of at most {CASH_DECIMALS} decimals"
            )
        units = units_of(moved, CASH_DECIMALS)
        account.transfers += units
        account.cash += units
        return units

    # -- what there is ---------------------------------------------------------------------------------------------

    def equity(self, name: str | None = None) -> int:
        """
        Cash and the positions at their marks, in units; a position without a mark counts as it was entered.

        Args:
            name: Name of the account; None for the only one there is.
        """
        account = self.account(name)
        return account.cash + sum(self.worth(place) for place in account.pairs)

    def wallet(self, name: str | None = None) -> int:
        """What a margin account's balance is: cash, and what open positions cost at entry, in units."""
        account = self.account(name)
        return account.cash + sum(self.positions[place].open_worth for place in account.pairs)

    def account(self, name: str | None = None) -> Account:
        """The account of that name; None for the only one there is. Raises ValueError where that is not one."""
        if name is not None:
            return self.accounts[name]
        if len(self.accounts) != 1:
            raise ValueError(f"which account of {', '.join(self.accounts) or 'none'}?")
        return next(iter(self.accounts.values()))

    def account_of(self, pair: int) -> Account:
        """The account that a pair settles in. Raises ValueError where too little is known of it."""
        return self._known(pair)[1]

    def worth(self, pair: int) -> int:
        """Worth of a pair's position at its mark, in units; at entry where there is none."""
        position, sums = self.positions[pair], self._sums[pair]
        if position.mark is None or not position.size or sums is None:
            return position.open_worth
        return sums.worth(position.size, position.mark)

    def unrealized(self, pair: int) -> int:
        """Profit of a pair's open position at its mark, in units; 0 where there is no mark."""
        return self.worth(pair) - self.positions[pair].open_worth

    def entry_price(self, pair: int) -> Fraction | None:
        """Average price of a pair's open position, exactly; None without one."""
        position, sums = self.positions[pair], self._sums[pair]
        return sums.price_of(position.size, position.open_worth) if position.size and sums is not None else None

    def entry_price_near(self, pair: int) -> float | None:
        """The same as the float64 next to it, in a fraction of the time."""
        position, sums = self.positions[pair], self._sums[pair]
        return sums.near_price_of(position.size, position.open_worth) if position.size and sums is not None else None

    def arithmetic(self, pair: int) -> Arithmetic:
        """What a pair's sizes are worth. Raises ValueError where too little is known of it."""
        return self._known(pair)[0]

    def is_known(self, pair: int) -> bool:
        """Whether an execution of the pair can be taken in."""
        return self._sums[pair] is not None

    def _known(self, pair: int) -> tuple[Arithmetic, Account]:
        sums, account = self._sums[pair], self._of_pair[pair]
        if sums is None or account is None:
            raise ValueError(f"{self.markets[pair].key}: contract, fees, tick or lot are not known yet")
        return sums, account


def _capital(name: str, given: Decimal) -> int:
    if not given.is_finite() or given < 0 or decimals_of(given) > CASH_DECIMALS:
        raise ConfigError(f"capital is {given} {name}, expected a number of 0 or more, for instance {name}=10000")
    return units_of(given, CASH_DECIMALS)
