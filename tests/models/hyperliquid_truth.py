"""Where a client of the model of Hyperliquid is wrong without saying so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.models.hyperliquid_book import DAY, PERP, UNSURE_NS, Order, in_tenths
from tests.models.machine import BEGIN_NS, SECOND
from toolkit.account_messages import AccountEvent, AccountEventKind, Fill, FundingPayment, OrderState, OrderUpdate
from toolkit.messages import BestQuote, BookSnapshot, EventKind, FundingInfo, FundingKind, StreamEvent, Trade

if TYPE_CHECKING:
    from tests.models.hyperliquid import HyperliquidModel

__all__ = ["broken_invariants", "differences"]


def broken_invariants(model: HyperliquidModel) -> Iterator[str]:
    """What may never be, whatever the road does: a side of a book that is empty or begins with nothing."""
    new, model.looked = model.machine.messages[model.looked :], len(model.machine.messages)
    pairs = {message.trading_pair for message in new if isinstance(message, BookSnapshot | BestQuote)}
    for pair in pairs & set(model.pairs.values()):
        if pair not in model.machine.books.trading_pairs:
            continue
        book = model.machine.books.book(pair)
        for name, side in (("bids", book.bids), ("asks", book.asks)):
            best = side.best
            if not book.is_stale and (best is None or not best.size):
                yield f"{pair} {name} begin with {best}"


def differences(model: HyperliquidModel) -> list[str]:
    """Books, trades, settled rates, the account and its rows; at the end its orders too. One line each."""
    return [
        *_book_differences(model),
        *_trade_differences(model),
        *_settlement_differences(model),
        *_account_differences(model),
        *_row_differences(model),
        *(_order_differences(model) if model.machine.is_last else ()),
    ]


def _book_differences(model: HyperliquidModel) -> Iterator[str]:
    for coin, pair in model.pairs.items():
        is_away = coin in model.vanished or coin in _quarantined(model)
        if is_away and pair not in model.machine.books.trading_pairs:
            continue
        book = model.machine.books.book(pair)
        if book.is_stale:
            if not is_away or model.machine.is_last:
                yield f"{pair} is stale: {book.stale_cause}"
            continue
        truth = model.books[coin].levels(20)
        for name, side, expected in (("bids", book.bids, truth[0]), ("asks", book.asks, truth[1])):
            said = [(level.price, level.size) for level in side.levels()]
            wanted = [(float(level["px"]), float(level["sz"])) for level in expected]
            if said != wanted:
                yield f"{pair} {name} are {said[:3]}, the model's are {wanted[:3]}"
        if model.machine.is_last and coin == PERP:
            terms = model.machine.books.instrument(pair)
            said_terms = None if terms is None else (terms.size_step, terms.max_leverage)
            wanted_terms = (float(f"1e-{model.terms['szDecimals']}"), float(model.terms["maxLeverage"]))
            if said_terms != wanted_terms:
                yield f"terms of {pair} are {said_terms}, the model's are {wanted_terms}"
    names = {(m.symbol, m.trading_pair) for m in model.machine.messages if m.symbol in model.pairs}
    if not names <= set(model.pairs.items()):
        yield f"coins go by the names {sorted(names)}"


def _quarantined(model: HyperliquidModel) -> set[str]:
    """Coins that are left out for a time, because the connection was lost twice with them."""
    found: set[str] = set()
    for message in model.machine.messages:
        if isinstance(message, StreamEvent) and message.kind is EventKind.QUARANTINED:
            found.add(message.detail.partition(":")[0])
    return found


def _trade_differences(model: HyperliquidModel) -> Iterator[str]:
    told: dict[tuple[str, int, int, str], list[Trade]] = {}
    for message in model.machine.messages:
        if isinstance(message, Trade) and not message.is_duplicate:
            ms = (message.ts_event or 0) // 1_000_000
            name = str(message.price) if message.trade_id == "0" else ""
            told.setdefault((message.symbol, ms, int(message.trade_id), name), []).append(message)
    for key, is_history in model.delivered_trades.items():
        messages = told.pop(key, [])
        if len(messages) != 1:
            yield f"trade {key} was told as new {len(messages)} times"
        elif is_history is not None and messages[0].is_history is not is_history:
            yield f"trade {key} was told with is_history {messages[0].is_history}"
    for key in told:
        yield f"trade {key} never happened"


def _settlement_differences(model: HyperliquidModel) -> Iterator[str]:
    told = [
        (message.ts_event or 0) // 1_000_000
        for message in model.machine.messages
        if isinstance(message, FundingInfo) and message.kind is FundingKind.SETTLED
    ]
    first_ms = (BEGIN_NS - DAY) // 1_000_000 + 5000
    until_ms = model.settled_until.get(PERP, 0)
    if model.machine.is_last:
        until_ms = (model.machine.true_ns - 600 * SECOND) // 1_000_000
    expected = [row["time"] for row in model.books[PERP].settled if first_ms <= row["time"] <= until_ms]
    missing = sorted(set(expected) - set(told))
    if missing:
        yield f"{len(missing)} settled rates are missing, the first is of {missing[0]}"
    if len(told) != len(set(told)):
        yield "a settled rate was told twice"


def _account_differences(model: HyperliquidModel) -> Iterator[str]:
    users = model.machine.users
    position = users.positions.find(PERP)
    size = position.size if position is not None else Decimal(0)
    if size != model.position:
        yield f"the position is {size}, the model's is {model.position}"
    elif (
        size
        and position is not None
        and (position.entry_price is None or abs(position.entry_price - model.entry) > Decimal("0.00001"))
    ):
        yield f"the entry price is {position.entry_price}, the model's is {model.entry}"
    perp = users.balances.find("USDC", wallet="perp")
    if perp is None or perp.total != float(model.cash):
        yield f"the balance is {perp and perp.total}, the model's is {model.cash}"
    for coin, tenths in model.spot.items():
        held = users.balances.find(coin, wallet="spot")
        if (held.total if held is not None else 0.0) != float(in_tenths(tenths)):
            yield f"the balance of {coin} is {held and held.total}, the model's is {in_tenths(tenths)}"


def _row_differences(model: HyperliquidModel) -> Iterator[str]:
    """Fills, payments and events: each told once, and the past as the past."""
    messages = model.machine.messages
    fills = {(each.trade_id, each.is_history) for each in messages if isinstance(each, Fill)}
    payments = [(str(each.payment_id), each.is_history) for each in messages if isinstance(each, FundingPayment)]
    events = [each for each in messages if isinstance(each, AccountEvent)]
    if any(each.kind is AccountEventKind.LIQUIDATION for each in events):
        yield "the liquidation of another was told as the account's own"
    if any(isinstance(each, Fill) and each.cause is not None for each in messages):
        yield "a fill is said to have been forced"
    deposits = [each for each in events if each.kind is AccountEventKind.DEPOSIT]
    ledger = [(each.event_id.split("/")[1], each.is_history) for each in deposits]
    if len(fills) != sum(isinstance(each, Fill) for each in messages):
        yield "a fill was told twice"
    for what, told, truth, name in (
        ("fill", fills, model.fills, lambda row: str(row["tid"])),
        ("payment", payments, model.payments, lambda row: str(row["time"])),
        ("deposit", ledger, model.ledger, lambda row: row["hash"]),
    ):
        yield from _told_once(model, what, list(told), truth, name)


def _told_once(
    model: HyperliquidModel,
    what: str,
    told: list[tuple[str, bool]],
    truth: list[tuple[int, dict[str, Any]]],
    name: Callable[[dict[str, Any]], str],
) -> Iterator[str]:
    found: dict[str, list[bool]] = {}
    for key, is_history in told:
        found.setdefault(key, []).append(is_history)
    for ns, row in truth:
        said = found.pop(name(row), [])
        if len(said) != 1:
            yield f"{what} {name(row)} was told {len(said)} times"
        elif abs(ns - model.watched_ns) > UNSURE_NS and said[0] is not (ns < model.watched_ns):
            yield f"{what} {name(row)} was told with is_history {said[0]}"
    if found:
        yield f"{what} {next(iter(found))} never happened"


def _order_differences(model: HyperliquidModel) -> Iterator[str]:
    for order in model.orders.values():
        said = model.machine.users.orders.find(str(order.oid))
        filled = Decimal(order.size - order.left) / 10
        state = _state_of(order)
        if said is None:
            yield f"order {order.oid} is not known, the model's is {state}"
        elif (said.state, said.filled) != (state, filled):
            yield f"order {order.oid} is {said.state} with {said.filled} filled, the model's {state} with {filled}"
    known = {str(oid) for oid in model.orders}
    for each in model.machine.users.orders:
        if each.order_id not in known:
            yield f"order {each.order_id} never was"
    for message in model.machine.messages:
        if not isinstance(message, OrderUpdate) or message.ts_event is None or message.is_history:
            continue
        if message.ts_event < model.watched_ns - DAY:
            days = (model.watched_ns - message.ts_event) // DAY
            yield f"order {message.order_id} is told as news of {days} days ago"


def _state_of(order: Order) -> OrderState:
    if not order.is_open:
        return OrderState.FILLED if order.status == "filled" else OrderState.CANCELLED
    return OrderState.PARTIALLY_FILLED if order.left < order.size else OrderState.OPEN
