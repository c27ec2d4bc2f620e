"""
What of an account's data is news: every fill, payment and event once, and of orders and states what has changed.

The venue repeats itself: on two channels, in snapshots after each subscribe, in replies. What was emitted is remembered
by the venue's own key, and nothing is remembered before all messages of a frame could be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from toolkit.account_messages import TERMINAL_ORDER_STATES, Fill
from toolkit.messages import Message, UserStreamMessage
from toolkit.venues.hyperliquid import user_wire as wire
from toolkit.venues.hyperliquid.symbols import dex_of
from toolkit.venues.hyperliquid.user_convert import AccountMessages, fill_id, funding_id, ledger_id, liquidation_id

__all__ = ["Account", "AccountNews", "fill_key", "without"]

#: The venue has no more than an account's newest 10,000 fills.
FILLS_REMEMBERED: Final = 12_000
ORDERS_REMEMBERED: Final = 6_000
ROWS_REMEMBERED: Final = 6_000
#: Where the values of a position begin, after what every account message has.
_VALUES: Final = len(UserStreamMessage.__struct_fields__)


#: Values of a position that is closed, and of one that has changed since it was stated.
_FLAT: Final = (0.0,)
_UNSURE: Final = (None,)


class OrderMemory(msgspec.Struct):
    """What was last emitted of an order; `is_full` once its type and time in force were."""

    coin: str
    side: str
    status: str
    time: int
    is_done: bool = False
    is_full: bool = False


class Account(msgspec.Struct):
    """
    What later messages about one account depend on.

    Attributes:
        address: Whose.
        orders: By id; ended ones are forgotten in the end.
        fills: Ids that were emitted, with their coin before them.
        payments: Likewise, of funding.
        rows: Likewise, of account events.
        positions: Values last emitted, by coin.
        balances: Values last emitted, by wallet and asset.
        snapshots: Kinds of lists that have told the past.
        last_fill_ms: The venue's time of the newest fill.
        connect_count: How often its connection was made.
        owed: Tags of REST replies that reconcile this connection and have not come.
        dexes: Dexes whose open orders were asked for on this connection.
        history_rows: Rows of the last list of statuses; they decide what the next one costs.
        suspects: Orders that were open before this connection and that no list has confirmed.
    """

    address: str
    orders: dict[int, OrderMemory] = {}
    fills: dict[str, None] = {}
    payments: dict[str, None] = {}
    rows: dict[str, None] = {}
    positions: dict[str, tuple[float | str | None, ...]] = {}
    balances: dict[str, tuple[float | None, ...]] = {}
    snapshots: list[str] = []
    last_fill_ms: int = 0
    connect_count: int = 0
    owed: list[str] = []
    dexes: list[str] = []
    history_rows: int = 2000
    suspects: list[int] = []


def _add(known: dict[str, None], new: Iterable[str], limit: int) -> None:
    for key in new:
        known[key] = None
    while len(known) > limit:
        del known[next(iter(known))]


class AccountNews:
    """
    The news that one frame holds of one account; what it finds, the account remembers.

    Args:
        account: What was emitted before.
        makes: Makes the messages.
    """

    def __init__(self, account: Account, makes: AccountMessages) -> None:
        self.account = account
        self._makes = makes

    def orders(self, rows: Sequence[wire.WireOrderStatus], *, is_history: bool) -> list[Message]:
        """Statuses that are not a repetition, and none older than what is known of the order."""
        makes = self._makes
        built: list[Message] = []
        new: dict[int, OrderMemory] = {}
        for row in rows:
            oid = row.order.oid
            known = new.get(oid) or self.account.orders.get(oid)
            message = makes.order(len(built), row.order, row.status, row.statusTimestamp, is_history=is_history)
            state = OrderMemory(
                row.order.coin,
                row.order.side,
                row.status,
                row.statusTimestamp,
                message.state in TERMINAL_ORDER_STATES,
                row.order.orderType is not None,
            )
            if known is not None and not _says_more(state, known):
                continue
            built.append(message)
            if known is not None:
                state.is_full = state.is_full or known.is_full
                if known.is_done and not state.is_done:
                    state = known
            new[oid] = state
        self._remember(new)
        return built

    def listed(self, rows: Sequence[wire.WireOrder], *, is_history: bool) -> list[Message]:
        """Open orders of a list that are news: unknown ones, and those whose type was not known."""
        makes = self._makes
        built: list[Message] = []
        new: dict[int, OrderMemory] = {}
        for row in rows:
            known = self.account.orders.get(row.oid)
            is_full = row.orderType is not None
            if known is not None and (known.is_done or known.is_full or not is_full):
                continue
            built.append(makes.order(len(built), row, "open", None, is_history=is_history and known is None))
            new[row.oid] = OrderMemory(
                row.coin,
                row.side,
                known.status if known is not None else "open",
                known.time if known is not None else row.timestamp,
                is_full=is_full,
            )
        self._remember(new)
        self.account.suspects = without(self.account.suspects, {row.oid for row in rows})
        return built

    def _remember(self, new: dict[int, OrderMemory]) -> None:
        orders = self.account.orders
        for oid, order in new.items():
            if order.is_done:
                orders.pop(oid, None)  # so that those that ended last are forgotten last
            orders[oid] = order
        excess = len(orders) - ORDERS_REMEMBERED
        if excess > 0:
            for oid in [oid for oid, order in orders.items() if order.is_done][:excess]:
                del orders[oid]
        if self.account.suspects:
            self.account.suspects = without(self.account.suspects, {oid for oid, order in new.items() if order.is_done})

    def fills(self, rows: Sequence[wire.WireFill], *, is_history: bool) -> list[Message]:
        """Fills that were not emitted before."""
        makes = self._makes
        built: list[Fill] = []
        new: dict[str, wire.WireFill] = {}
        for row in rows:
            key = fill_key(row)
            if key not in self.account.fills and key not in new:
                built.append(makes.fill(len(built), row, is_history=is_history))
                new[key] = row
        for row in new.values():
            self.account.last_fill_ms = max(self.account.last_fill_ms, row.time)
        for message in built:
            if message.position_before is not None and not is_history:
                # The next statement of the position is news, even if it repeats the one before this fill.
                self.account.positions[message.symbol] = _UNSURE
        _add(self.account.fills, new, FILLS_REMEMBERED)
        return [*built]

    def fundings(self, rows: Sequence[wire.WireFunding], *, is_history: bool) -> list[Message]:
        """Funding payments that were not emitted before."""
        makes = self._makes
        return _once(
            self.account.payments,
            rows,
            lambda row: f"{row.coin} {funding_id(row)}",
            lambda number, row: makes.funding(number, row, is_history=is_history),
        )

    def ledger(self, rows: Sequence[wire.WireLedgerRow], *, is_history: bool) -> list[Message]:
        """Rows of the ledger that were not emitted before."""
        makes = self._makes
        return _once(
            self.account.rows, rows, ledger_id, lambda number, row: makes.ledger(number, row, is_history=is_history)
        )

    def margins(self, states: Sequence[tuple[str, wire.ClearinghouseState]]) -> list[Message]:
        """What is news in the states of dexes."""
        makes = self._makes
        built: list[Message] = []
        balances: dict[str, tuple[float | None, ...]] = {}
        positions: dict[str, tuple[float | str | None, ...]] = {}
        for dex, state in states:
            balance = makes.margin(len(built), dex, state)
            money = (balance.total, balance.available, balance.margin_used, balance.maintenance_margin)
            known = self.account.balances.get(balance.wallet)
            balances[balance.wallet] = money
            # A dex that was never used is not worth a row.
            if known != money and (known is not None or not dex or any(money)):
                built.append(balance)
            held = set()
            for each in state.assetPositions:
                update = makes.position(len(built), each.position, state.time)
                held.add(update.symbol)
                positions[update.symbol] = msgspec.structs.astuple(update)[_VALUES:]
                if self.account.positions.get(update.symbol) != positions[update.symbol]:
                    built.append(update)
            for coin, values in self.account.positions.items():
                if coin not in held and values != _FLAT and dex_of(coin) == dex:
                    built.append(makes.no_position(len(built), coin, state.time))
                    positions[coin] = _FLAT
        self.account.balances.update(balances)
        self.account.positions.update(positions)
        return built

    def spot(self, state: wire.SpotState) -> list[Message]:
        """Spot balances that have changed."""
        makes = self._makes
        built: list[Message] = []
        values: dict[str, tuple[float | None, ...]] = {}
        for row in state.balances:
            update = makes.spot(len(built), row.coin, row.total, row.hold)
            values[f"spot {row.coin}"] = (update.total, update.available)
            if self.account.balances.get(f"spot {row.coin}") != values[f"spot {row.coin}"]:
                built.append(update)
        for key, held in self.account.balances.items():
            if key.startswith("spot ") and key not in values and any(held):
                values[key] = (0.0, 0.0)
                built.append(makes.spot(len(built), key[len("spot ") :], 0.0, 0.0))
        self.account.balances.update(values)
        return built

    def liquidation(self, event: wire.LiquidationEvent) -> list[Message]:
        """A liquidation that is announced, unless the ledger had it."""
        key = liquidation_id(event.liquidated_ntl_pos, event.liquidated_account_value)
        return _once(self.account.rows, [event], lambda _: key, self._makes.liquidation)

    def system_cancels(self, rows: Sequence[wire.SystemCancel]) -> list[Message]:
        """Orders that the system cancelled."""
        return _once(
            self.account.rows,
            rows,
            lambda row: f"cancel/{row.oid}",
            lambda number, row: self._makes.system_cancel(number, row.coin, row.oid),
        )

    def lost_order(self, oid: int, status: str) -> list[Message]:
        """An order that the venue says it does not know."""
        known = self.account.orders.get(oid)
        if known is None or known.is_done:
            return []
        message = self._makes.lost_order(0, oid, known.coin, known.side)
        self._remember({oid: OrderMemory(known.coin, known.side, status, known.time, True, known.is_full)})
        return [message]


def _says_more(new: OrderMemory, known: OrderMemory) -> bool:
    """Whether a status is not what is known already, nor older."""
    if (new.status, new.time) == (known.status, known.time):
        return new.is_full and not known.is_full and not known.is_done
    if known.is_done and not new.is_done:
        return False
    return new.time >= known.time


def _once(
    known: dict[str, None], rows: Iterable[Any], key_of: Callable[[Any], str], make: Callable[[int, Any], Message]
) -> list[Message]:
    """Messages of the rows that were not emitted before; they are remembered once all are made."""
    built: list[Message] = []
    new: dict[str, None] = {}
    for row in rows:
        key = key_of(row)
        if key not in known and key not in new:
            built.append(make(len(built), row))
            new[key] = None
    _add(known, new, ROWS_REMEMBERED)
    return built


def fill_key(row: wire.WireFill) -> str:
    """What a fill is remembered by."""
    return f"{row.coin} {fill_id(row)}"


def without(oids: list[int], gone: set[int]) -> list[int]:
    """The orders less those."""
    return [oid for oid in oids if oid not in gone]
