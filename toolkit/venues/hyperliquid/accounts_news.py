"""
What of an account's data is news: every fill, payment and event once, and of orders and states what has changed.

The venue repeats itself: on two channels, in snapshots after each subscribe, in replies. What was emitted is remembered
by the venue's own key. A row that cannot be made a message is noted as odd, and takes none of its neighbours with it.

On one connection the venue tells things in the order in which they happened, whatever the times say that it puts on
them. Replies come by another way: there a status is only heeded if it is not older than what is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from toolkit.account_messages import TERMINAL_ORDER_STATES, Fill, OrderState
from toolkit.errors import ParseError
from toolkit.messages import Message, UserStreamMessage
from toolkit.venues.hyperliquid import accounts_wire as wire
from toolkit.venues.hyperliquid.accounts_convert import AccountMessages, fill_id, funding_id, ledger_id, liquidation_id
from toolkit.venues.hyperliquid.accounts_status import order_state
from toolkit.venues.hyperliquid.symbols import dex_of

__all__ = ["Account", "AccountNews", "fill_key", "without"]

#: The venue has no more than an account's newest 10,000 fills.
FILLS_REMEMBERED: Final = 12_000
ORDERS_REMEMBERED: Final = 6_000
ROWS_REMEMBERED: Final = 6_000
#: Where the values of a position begin, after what every account message has.
_VALUES: Final = len(UserStreamMessage.__struct_fields__)


#: The status of an order that the venue does not know, in its own word.
UNKNOWN_OID: Final = "unknownOid"
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
        address: Address of the account.
        orders: Orders by id; ended ones are forgotten in the end.
        fills: Ids that were emitted, with their coin before them.
        payments: Ids of funding payments that were emitted.
        rows: Ids of account events that were emitted.
        positions: Values last emitted, by coin.
        balances: Values last emitted, by wallet and asset.
        snapshots: Kinds of lists that have reported the past.
        last_fill_ms: The venue's time of the newest fill.
        connect_count: How often its connection was made.
        owed: Tags of REST replies that reconcile this connection and have not come.
        dexes: Dexes whose open orders were asked for on this connection.
        history_rows: Rows of the last list of statuses; they decide what the next one costs.
        suspects: Orders that were open before this connection and that no list has confirmed.
        watch_ms: The venue's time since when it is watched; 0 before.
        watch_mono: Our monotonic clock at that moment, while the venue's time of it is a guess by our wall clock.
        filled_ms: The venue's time of the newest live fill by coin, of those that no state has shown since.
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
    watch_ms: int = 0
    watch_mono: int | None = None
    filled_ms: dict[str, int] = {}

    def is_history(self, kind: str, time_ms: int) -> bool:
        """
        Whether a row of a list of that kind happened before the account was watched.

        All that the first list on the first connection holds is how the account was found. If that never came, the
        venue's time tells; and after it, what a list has that was not reported is what was missed.
        """
        if kind in self.snapshots:
            return False
        return self.connect_count < 2 or time_ms < self.watch_ms

    def took(self, kind: str) -> None:
        """A list of that kind has come."""
        if kind not in self.snapshots:
            self.snapshots.append(kind)


def _add(known: dict[str, None], new: Iterable[str], limit: int) -> None:
    for key in new:
        known[key] = None
    while len(known) > limit:
        del known[next(iter(known))]


class AccountNews:
    """
    The news that one frame holds of one account; what it finds, the account remembers.

    Args:
        account: State as it was emitted before.
        makes: Makes the messages.
        odd: Lines, one for each row that cannot be made a message.
    """

    def __init__(self, account: Account, makes: AccountMessages, odd: list[str]) -> None:
        self.account = account
        self._makes = makes
        self.odd = odd

    def orders(self, rows: Sequence[wire.WireOrderStatus], kind: str = "") -> list[Message]:
        """
        Statuses that are not a repetition; `kind` names the list that they are of, if they are no stream.

        Of a list, none older than what is known of the order.
        """
        makes = self._makes
        built: list[Message] = []
        new: dict[int, OrderMemory] = {}
        for row in rows:
            oid = row.order.oid
            known = new.get(oid) or self.account.orders.get(oid)
            is_history = bool(kind) and self.account.is_history(kind, row.statusTimestamp)
            meant = order_state(row.status)
            if meant is None:
                self.odd.append(f"order {oid} has the unknown status {row.status!r}")
                if known is None or known.is_done:
                    continue
                meant = OrderState.OPEN  # as far as is known; the word is reported
            try:
                message = makes.order(
                    len(built), row.order, row.status, row.statusTimestamp, is_history=is_history, state=meant
                )
            except ParseError as exc:
                self.odd.append(str(exc))
                continue
            state = OrderMemory(
                row.order.coin,
                row.order.side,
                row.status,
                row.statusTimestamp,
                message.state in TERMINAL_ORDER_STATES,
                row.order.orderType is not None,
            )
            if known is not None and not _says_more(state, known, in_order=not kind):
                continue
            built.append(message)
            if known is not None:
                state.is_full = state.is_full or known.is_full
                if known.is_done and not state.is_done:
                    state = known
            new[oid] = state
        self._remember(new)
        return built

    def listed(self, rows: Sequence[wire.WireOrder], kind: str) -> list[Message]:
        """Open orders of a list of that kind that are news: unknown ones, and those whose type was not known."""
        makes = self._makes
        built: list[Message] = []
        new: dict[int, OrderMemory] = {}
        for row in rows:
            known = self.account.orders.get(row.oid)
            is_full = row.orderType is not None
            if known is not None and (known.is_done or known.is_full or not is_full):
                continue
            is_history = known is None and self.account.is_history(kind, row.timestamp)
            try:
                built.append(makes.order(len(built), row, "open", None, is_history=is_history))
            except ParseError as exc:
                self.odd.append(str(exc))
                continue
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

    def fills(self, rows: Sequence[wire.WireFill], kind: str = "") -> list[Message]:
        """Fills that were not emitted before; `kind` names the list that they are of, if they are no stream."""
        makes = self._makes
        built: list[Fill] = []
        new: dict[str, wire.WireFill] = {}
        for row in rows:
            key = fill_key(row)
            if key in self.account.fills or key in new:
                continue
            try:
                is_history = bool(kind) and self.account.is_history(kind, row.time)
                built.append(makes.fill(len(built), row, is_history=is_history))
            except ParseError as exc:
                self.odd.append(str(exc))
                continue
            new[key] = row
        for row in new.values():
            self.account.last_fill_ms = max(self.account.last_fill_ms, row.time)
        new_ms = {fill_id(row): row.time for row in new.values()}
        for message in built:
            if message.position_before is not None and not message.is_history:
                # The next statement of the position is news, even if it repeats the one before this fill.
                self.account.positions[message.symbol] = _UNSURE
                # The newest by the venue's time, as the account has it, though a clock was set since.
                known = self.account.filled_ms.get(message.symbol, 0)
                self.account.filled_ms[message.symbol] = max(known, new_ms[message.fill_id])
        _add(self.account.fills, new, FILLS_REMEMBERED)
        return [*built]

    def fundings(self, rows: Sequence[wire.WireFunding], kind: str = "") -> list[Message]:
        """Funding payments that were not emitted before; `kind` as for fills."""
        makes, account = self._makes, self.account
        return self._once(
            account.payments,
            rows,
            lambda row: f"{row.coin} {funding_id(row)}",
            lambda number, row: makes.funding(
                number, row, is_history=bool(kind) and account.is_history(kind, row.time)
            ),
        )

    def ledger(self, rows: Sequence[wire.WireLedgerRow], kind: str) -> list[Message]:
        """Rows of the ledger that were not emitted before; `kind` as for fills, or empty."""
        makes, account = self._makes, self.account
        return self._once(
            account.rows,
            rows,
            ledger_id,
            lambda number, row: makes.ledger(number, row, is_history=bool(kind) and account.is_history(kind, row.time)),
        )

    def margins(self, states: Sequence[tuple[str, wire.ClearinghouseState]]) -> list[Message]:
        """What is news in the states of dexes."""
        makes = self._makes
        built: list[Message] = []
        balances: dict[str, tuple[float | None, ...]] = {}
        positions: dict[str, tuple[float | str | None, ...]] = {}
        for dex, state in states:
            if state.marginSummary is not None:
                balance = makes.margin(len(built), dex, state, state.marginSummary)
                money = (balance.total, balance.available, balance.margin_used, balance.maintenance_margin)
                known = self.account.balances.get(balance.wallet)
                balances[balance.wallet] = money
                # A dex that was never used is not worth a row.
                if known != money and (known is not None or not dex or any(money)):
                    built.append(balance)
            unread = set(state.unread) if isinstance(state, wire.PartOfClearinghouse) else set()
            held = set(unread)
            for each in state.assetPositions:
                update = makes.position(len(built), each.position, state.time)
                held.add(update.symbol)
                values = msgspec.structs.astuple(update)[_VALUES:]
                if self.account.positions.get(update.symbol) != values:
                    built.append(update)
                positions[update.symbol] = self._stated(update.symbol, values, state.time)
            for coin, values in self.account.positions.items():
                # Which of them a position without a name is cannot be known; then none is taken for closed.
                if "" not in unread and coin not in held and values != _FLAT and dex_of(coin) == dex:
                    built.append(makes.no_position(len(built), coin, state.time))
                    positions[coin] = self._stated(coin, _FLAT, state.time)
        self.account.balances.update(balances)
        self.account.positions.update(positions)
        return built

    def _stated(
        self, coin: str, values: tuple[float | str | None, ...], time_ms: int | None
    ) -> tuple[float | str | None, ...]:
        """Memory of a statement: nothing of one from before the newest fill, so that the next is reported."""
        filled_ms = self.account.filled_ms.get(coin)
        if filled_ms is not None and time_ms is not None and time_ms < filled_ms:
            return _UNSURE
        self.account.filled_ms.pop(coin, None)
        return values

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
        unread = {f"spot {coin}" for coin in state.unread} if isinstance(state, wire.PartOfSpot) else set()
        for key, held in self.account.balances.items():
            if key.startswith("spot ") and not unread & {key, "spot "} and key not in values and any(held):
                values[key] = (0.0, 0.0)
                built.append(makes.spot(len(built), key[len("spot ") :], 0.0, 0.0))
        self.account.balances.update(values)
        return built

    def liquidation(self, event: wire.LiquidationEvent) -> list[Message]:
        """A liquidation that is announced, unless the ledger had it."""
        key = liquidation_id(event.liquidated_ntl_pos, event.liquidated_account_value)
        return self._once(self.account.rows, [event], lambda _: key, self._makes.liquidation)

    def system_cancels(self, rows: Sequence[wire.SystemCancel]) -> list[Message]:
        """Orders that the system cancelled."""
        return self._once(
            self.account.rows,
            rows,
            lambda row: f"cancel/{row.oid}",
            lambda number, row: self._makes.system_cancel(number, row.coin, row.oid),
        )

    def _once(
        self,
        known: dict[str, None],
        rows: Iterable[Any],
        key_of: Callable[[Any], str],
        make: Callable[[int, Any], Message],
    ) -> list[Message]:
        """Messages of the rows that were not emitted before."""
        built: list[Message] = []
        new: dict[str, None] = {}
        for row in rows:
            try:
                key = key_of(row)
                if key not in known and key not in new:
                    built.append(make(len(built), row))
                    new[key] = None
            except ParseError as exc:
                self.odd.append(str(exc))
        _add(known, new, ROWS_REMEMBERED)
        return built

    def lost_order(self, oid: int, status: str) -> list[Message]:
        """An order that the venue says it does not know."""
        known = self.account.orders.get(oid)
        if known is None or known.is_done:
            return []
        message = self._makes.lost_order(0, oid, known.coin, known.side)
        self._remember({oid: OrderMemory(known.coin, known.side, status, known.time, True, known.is_full)})
        return [message]


def _says_more(new: OrderMemory, known: OrderMemory, *, in_order: bool) -> bool:
    """Whether a status is not what is known already, nor older."""
    if (new.status, new.time) == (known.status, known.time):
        return new.is_full and not known.is_full and not known.is_done
    if known.is_done:
        # What the venue did not know it may know after all; else an order ends once.
        return new.is_done and (known.status == UNKNOWN_OID or (not in_order and new.time >= known.time))
    # The end of an order is news whatever its time; and a stream is in order though the venue's clock was set.
    return new.is_done or in_order or new.time >= known.time


def fill_key(row: wire.WireFill) -> str:
    """What a fill is remembered by."""
    return f"{row.coin} {fill_id(row)}"


def without(oids: list[int], gone: set[int]) -> list[int]:
    """The orders less those."""
    return [oid for oid in oids if oid not in gone]
