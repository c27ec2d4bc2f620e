"""
Order scripts: a list of requests with their times, replayed without a strategy.

A script is a JSON file: a list of actions, or an object that has them under `actions` (what else it holds is not
looked at, but `columns`). An action is an object, or a list in the order of these columns (a list may go on after
them), ascending in time:

| column        | what                                                                                   |
|---------------|----------------------------------------------------------------------------------------|
| `local_ns`    | when it is sent, ns since the epoch, on the clock that recorded                        |
| `what`        | `buy`, `sell`, `modify`, `cancel`, `cancel_all`                                        |
| `id`          | the order's id, a whole number; free again once the order has ended (`cancel_all`: null) |
| `price_ticks` | limit price in ticks; null where there is none; an object may have `price` instead      |
| `qty`         | size, all of it, also when modified; null where there is none                          |
| `tif`         | `GTC` (the default), `IOC`, `FOK`, `GTX` (post-only); of new orders                    |
| `type`        | `limit` (the default) or `market`; of new orders                                       |
| `expires_ns`  | when a new order ends that still rests then (GTD), on the same clock; null: never      |
| `reduce_only` | true: a new order that may only make the position smaller                              |

The last two are for the receive clock only.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from replay.backtest.exchange import Exchange
from replay.backtest.requests import NewOrder, OwnOrder, Refusal
from replay.backtest.scales import PairScale
from replay.backtest.venue_clock import VenueScheduler
from replay.market.layout import BUY, SELL, TifCode
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.messages import EventKind, Message, StreamEvent

__all__ = ["COLUMNS", "Action", "play_on_receipt", "play_script", "read_script", "script_actions"]

COLUMNS: Final = ("local_ns", "what", "id", "price_ticks", "qty", "tif", "type")
#: What an object may have beside those; a list goes on with other things.
_MORE: Final = ("price", "expires_ns", "reduce_only")
_TIFS: Final[Mapping[str, TifCode]] = {
    "GTC": TifCode.GTC,
    "IOC": TifCode.IOC,
    "FOK": TifCode.FOK,
    "GTX": TifCode.POST_ONLY,
}
_WHAT: Final = ("buy", "sell", "modify", "cancel", "cancel_all")
_TYPES: Final = ("limit", "market")
#: Times, ids and prices are int64 with room for sums.
_MOST: Final = 2**61


class Action(msgspec.Struct, frozen=True):
    """
    One request of a script.

    Attributes:
        at_ns: When it is sent, on our clock.
        what: `buy`, `sell`, `modify`, `cancel` or `cancel_all`.
        order_id: Number of the order; 0 in `cancel_all`.
        tick: Limit price, ticks; 0 where there is none.
        lots: Size, all of it; 0 where there is none.
        tif: Time in force of a new order.
        is_market: Whether a new order has no limit.
        expires_ns: When a new order ends; None: never.
        reduce_only: Whether a new order may only make the position smaller.
    """

    at_ns: int
    what: str
    order_id: int = 0
    tick: int = 0
    lots: int = 0
    tif: TifCode = TifCode.GTC
    is_market: bool = False
    expires_ns: int | None = None
    reduce_only: bool = False


def read_script(path: Path, scale: PairScale, *, span: tuple[int, int] | None = None) -> list[Action]:
    """
    Read a script for one pair.

    Args:
        path: The JSON file.
        scale: Tick and lot of the pair.
        span: First and last time of the tape, ns; None where any time will do.

    Raises:
        ConfigError: The file cannot be read, or a row is none; the message names the row, counting from 1.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"script {path} cannot be read: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"script {path} is no JSON: {exc}") from exc
    rows = document.get("actions") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise ConfigError(f"script {path} holds no list of actions, expected one, alone or under `actions`")
    return script_actions(rows, scale, where=str(path), span=span)


def script_actions(
    rows: Iterable[Any], scale: PairScale, *, where: str = "script", span: tuple[int, int] | None = None
) -> list[Action]:
    """
    Rows of a script as actions.

    Args:
        rows: Objects, or lists in the order of `COLUMNS`.
        scale: Tick and lot of the pair.
        where: Name of the script in messages.
        span: First and last time of the tape, ns; None where any time will do.

    Raises:
        ConfigError: A row is none; the message names it, counting from 1.
    """
    actions: list[Action] = []
    for number, row in enumerate(rows, 1):
        try:
            action = _action(row, scale)
            if actions and action.at_ns < actions[-1].at_ns:
                raise ConfigError(
                    f"local_ns is {action.at_ns}, expected {actions[-1].at_ns} or later, as the row before"
                )
            if span is not None and not span[0] <= action.at_ns <= span[1]:
                raise ConfigError(
                    f"local_ns is {action.at_ns} ns, {format_ns(action.at_ns)}, which is off the tape: expected"
                    f" {span[0]} to {span[1]}, {format_ns(span[0])} to {format_ns(span[1])}"
                )
        except ConfigError as exc:
            raise ConfigError(f"{where}, row {number}: {exc}") from None
        actions.append(action)
    return actions


def _action(row: Any, scale: PairScale) -> Action:
    if isinstance(row, Sequence) and not isinstance(row, str):
        fields = dict(zip(COLUMNS, row, strict=False))
    elif isinstance(row, dict):
        fields = row
        unknown = [name for name in fields if name not in (*COLUMNS, *_MORE)]
        if unknown:
            raise ConfigError(
                f"unknown field {unknown[0]!r}, expected {', '.join(COLUMNS)}, price or another of the order"
            )
    else:
        raise ConfigError(f"found {row!r}, expected an object or a list of {', '.join(COLUMNS)}")
    at_ns = _whole(fields, "local_ns")
    what = _one_of(fields, "what", _WHAT)
    if what == "cancel_all":
        return Action(at_ns, what)
    order_id = _whole(fields, "id")
    if what == "cancel":
        return Action(at_ns, what, order_id)
    lots = int(scale.lots([_positive(fields, "qty")])[0])
    if what == "modify":
        return Action(at_ns, what, order_id, _tick(fields, scale), lots)
    tif = _TIFS[_one_of(fields, "tif", tuple(_TIFS), "GTC")]
    is_market = _one_of(fields, "type", _TYPES, "limit") == "market"
    if is_market and tif is TifCode.POST_ONLY:
        raise ConfigError("a market order cannot be post-only, expected type limit or another tif")
    tick = 0 if is_market else _tick(fields, scale)
    expires_ns = None if fields.get("expires_ns") is None else _whole(fields, "expires_ns")
    if expires_ns is not None and (expires_ns <= at_ns or is_market or tif not in (TifCode.GTC, TifCode.POST_ONLY)):
        raise ConfigError(f"expires_ns is {expires_ns}, expected a time after local_ns, of an order that can rest")
    reduce_only = fields.get("reduce_only") or False
    if not isinstance(reduce_only, bool):
        raise ConfigError(f"reduce_only is {reduce_only!r}, expected true or false")
    return Action(
        at_ns=at_ns,
        what=what,
        order_id=order_id,
        tick=tick,
        lots=lots,
        tif=tif,
        is_market=is_market,
        expires_ns=expires_ns,
        reduce_only=reduce_only,
    )


def _whole(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST:
        raise ConfigError(f"{name} is {value!r}, expected a whole number of 0 or more")
    return value


def _positive(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value!r}, expected a number above 0")
    return float(value)


def _tick(fields: Mapping[str, Any], scale: PairScale) -> int:
    tick = _given_tick(fields, scale)
    scale.check_limit(tick)
    return tick


def _given_tick(fields: Mapping[str, Any], scale: PairScale) -> int:
    if fields.get("price") is not None:
        if fields.get("price_ticks") is not None:
            raise ConfigError("both price and price_ticks are given, expected one of them")
        return int(scale.ticks([_positive(fields, "price")])[0])
    tick = _whole(fields, "price_ticks")
    if tick == 0:
        raise ConfigError("price_ticks is 0, expected a price above 0")
    return tick


def _one_of(fields: Mapping[str, Any], name: str, choices: Sequence[str], default: str | None = None) -> str:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
    return str(value)


def play_script(scheduler: VenueScheduler, actions: Iterable[Action]) -> list[Refusal | None]:
    """
    Send the actions of a script, each after everything that happened or was received up to its time, that included.

    Returns:
        Of each action None, or why it was not sent. What came of them is with the scheduler.
    """
    refusals: list[Refusal | None] = []
    for action in actions:
        scheduler.advance(action.at_ns)
        refusals.append(_send(scheduler, action))
    scheduler.finish()
    return refusals


def _send(scheduler: VenueScheduler, action: Action) -> Refusal | None:
    match action.what:
        case "cancel":
            return scheduler.cancel(action.at_ns, action.order_id)
        case "cancel_all":
            scheduler.cancel_all(action.at_ns)
            return None
        case "modify":
            return scheduler.amend(action.at_ns, action.order_id, tick=action.tick, lots=action.lots)
        case _:
            return _submit(scheduler, action)


def _submit(scheduler: VenueScheduler, action: Action) -> Refusal | None:
    if action.expires_ns is not None or action.reduce_only:
        raise ConfigError("expires_ns and reduce_only are for the receive clock only: --clock receive")
    # As elsewhere, an id is free again when its order has ended as far as its owner knows.
    scheduler.own.forget_ended()
    return scheduler.submit(
        action.at_ns,
        action.order_id,
        side=BUY if action.what == "buy" else SELL,
        tick=action.tick,
        lots=action.lots,
        tif=action.tif,
        is_market=action.is_market,
    )


def play_on_receipt(
    exchange: Exchange, messages: Iterable[Message], actions: Sequence[Action]
) -> tuple[list[OwnOrder], list[Refusal | None]]:
    """
    Send the actions of a script to an exchange of one pair on the receive clock, each before a frame of its time.

    At the end of a session, and of the messages, what rests is cancelled.

    Returns:
        The orders that were sent, in order; and of each action None, or why it was not sent.
    """
    owner = _ScriptOwner(exchange, deque(actions))
    frame: tuple[int, int] | None = None
    now = 0
    for message in messages:
        if (message.capture_seq, message.ts_recv) != frame:
            frame = (message.capture_seq, message.ts_recv)
            now = max(now, message.ts_recv)
            owner.reach(now)
        exchange.take(message)
        if isinstance(message, StreamEvent) and message.kind is EventKind.SESSION_END:
            owner.end(now)
    owner.reach(now)
    owner.end(now)
    return owner.sent, owner.refusals


class _ScriptOwner:
    """Sends what a script says, and finds its orders by the script's ids."""

    def __init__(self, exchange: Exchange, actions: deque[Action]) -> None:
        self._exchange = exchange
        self._actions = actions
        #: What the script counts in; the market may be counted in finer steps later.
        self._scale = exchange.markets[0].scale
        self._orders: dict[int, OwnOrder] = {}
        self.sent: list[OwnOrder] = []
        self.refusals: list[Refusal | None] = []

    def reach(self, now_ns: int) -> None:
        """Let happen what happens up to a time, and send what is to be sent by then."""
        while True:
            due = self._exchange.next_due_ns()
            at_ns = self._actions[0].at_ns if self._actions else now_ns + 1
            if min(due, at_ns) > now_ns:
                return
            if due <= at_ns:
                for _ in self._exchange.advance(due):
                    pass
            else:
                self.refusals.append(self._send(self._actions.popleft()))

    def end(self, now_ns: int) -> None:
        """The session ends."""
        for _ in self._exchange.close(now_ns):
            pass

    def _send(self, action: Action) -> Refusal | None:
        scale = self._exchange.markets[0].scale
        if self._scale is not None and scale is not None and scale != self._scale:
            ticks, lots = int(self._scale.tick / scale.tick), int(self._scale.lot / scale.lot)
            action = msgspec.structs.replace(action, tick=action.tick * ticks, lots=action.lots * lots)
        if action.what == "cancel_all":
            self._exchange.cancel_all(action.at_ns)
            return None
        order = self._orders.get(action.order_id)
        if action.what in ("buy", "sell"):
            if order is not None and not (order.has_ended and not order.pending):
                return Refusal.KNOWN_ID
            self._orders[action.order_id] = order = self._exchange.submit(action.at_ns, _order_of(action))
            self.sent.append(order)
            return None
        if order is None:
            return Refusal.UNKNOWN_ID
        if action.what == "cancel":
            return self._exchange.cancel(action.at_ns, order)
        return self._exchange.amend(action.at_ns, order, tick=action.tick, lots=action.lots)


def _order_of(action: Action) -> NewOrder:
    return NewOrder(
        pair=0,
        side=BUY if action.what == "buy" else SELL,
        lots=action.lots,
        tick=action.tick,
        tif=action.tif,
        is_market=action.is_market,
        reduce_only=action.reduce_only,
        expires_ns=action.expires_ns,
        tag=str(action.order_id),
    )
