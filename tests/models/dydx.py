"""
A model of dYdX v4's Indexer: a chain with two markets and one subaccount, and what the sheet says that it sends of them.

Exact and small: prices are whole numbers, sizes tenths, held as whole numbers. REST is read from copies that lag by some
blocks, and gives pages of a hundred rows. A subscription's snapshot is fetched first and sent later; what happens to the
account between is in no frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, unquote

import msgspec

from tests.models.dydx_given import MARKS, Given
from tests.models.machine import BEGIN_NS, SECOND, Line, Model
from toolkit.account_messages import AccountEvent, Fill, FundingPayment, OrderUpdate
from toolkit.messages import FundingInfo, FundingKind, Instrument, Trade
from toolkit.protocol import ProtocolOptions, RestCall, VenueProtocol
from toolkit.venue import find_venue
from toolkit.venues.dydx_v4.accounts_status import PASSED
from toolkit.venues.dydx_v4.auth import address_of

__all__ = ["DydxModel"]

ADDRESS: Final = address_of(bytes(range(20)))
USER: Final = f"{ADDRESS}/0"
PAIRS: Final = ("BTC-USD", "ETH-USD")
HOUR: Final = 3600 * SECOND
#: Rows of a page.
PAGE: Final = 100
#: The chain's height when a sequence begins.
HEIGHT: Final = 50_000
#: Blocks by which copies may lag.
LAG_MAX: Final = 4
#: The height before which everything is history, and after which nothing is: the first snapshot was made between.
_UNSURE: Final = 3


def _text(tenths: int) -> str:
    return str(Decimal(tenths) / 10)


@dataclass
class _Market:
    """A market's book, trades, rates and terms."""

    ticker: str
    bids: dict[int, int]
    asks: dict[int, int]
    oracle: int = 1000
    interest: int = 100
    tick: str = "1"
    status: str = "ACTIVE"
    #: Oldest first.
    trades: list[dict[str, Any]] = field(default_factory=list)
    settled: list[dict[str, Any]] = field(default_factory=list)

    def levels(self) -> dict[str, list[dict[str, str]]]:
        sides = {"bids": sorted(self.bids.items(), reverse=True), "asks": sorted(self.asks.items())}
        return {name: [{"price": str(px), "size": _text(sz)} for px, sz in side] for name, side in sides.items()}

    def row(self) -> dict[str, Any]:
        return {
            "clobPairId": "0", "ticker": self.ticker, "status": self.status, "oraclePrice": str(self.oracle),
            "priceChange24H": "1", "volume24H": "5", "nextFundingRate": "0.00001", "initialMarginFraction": "0.05",
            "openInterest": str(self.interest), "tickSize": self.tick, "stepSize": "0.1",
        }  # fmt: skip


@dataclass
class _Order:
    """One order; an id may have had others before it. Sizes in tenths."""

    id: str
    ticker: str
    side: str
    size: int
    price: int
    is_short: bool
    created: int
    good_til: int
    #: Whether the client heard of its being placed.
    was_seen: bool = False
    filled: int = 0
    first_fill: int = 0
    status: str = "OPEN"
    reason: str = ""
    updated: int = 0

    def copy(self) -> _Order:
        """As it is now; `replace` takes a tenth of a sequence."""
        other = object.__new__(_Order)
        other.__dict__.update(self.__dict__)
        return other

    @property
    def lives(self) -> bool:
        return self.status in ("OPEN", "BEST_EFFORT_OPENED", "BEST_EFFORT_CANCELED")

    def wire(self, *, is_rest: bool = False) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": self.id, "clientId": self.id[1:], "ticker": self.ticker, "side": self.side, "size": _text(self.size),
            "price": str(self.price), "type": "LIMIT", "timeInForce": "GTT", "status": self.status,
            "totalFilled": _text(self.filled), "orderFlags": "0" if self.is_short else "64",
        }  # fmt: skip
        row["goodTilBlock" if self.is_short else "goodTilBlockTime"] = (
            str(self.good_til) if self.is_short else "2033-05-18T03:33:20.000Z"
        )
        if self.reason:
            row["removalReason"] = f"ORDER_REMOVAL_REASON_{self.reason}"
        # One of short term is in the database from its first fill on.
        first = self.first_fill if self.is_short else self.created
        if is_rest and first:
            row |= {"createdAtHeight": str(first), "updatedAtHeight": str(self.updated)}
        return row


class DydxModel(Model):
    """Two markets, one subaccount."""

    settle_ns: ClassVar[int] = 64 * SECOND
    settle_step_ns: ClassVar[int] = 2 * SECOND
    actions: ClassVar[dict[str, int]] = {
        "move": 12, "trade": 10, "burst": 2, "oracle": 5, "change_terms": 2, "place_short": 9, "place_long": 6,
        "fill": 12, "cancel": 7, "deposit": 3, "hours": 1, "wild_height": 3, "make_block": 10,
        "outrun": 4,
    }  # fmt: skip

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._rng = rng
        self.markets = {
            ticker: _Market(
                ticker,
                {base - 1 - number: rng.randint(1, 50) for number in range(12)},
                {base + number: rng.randint(1, 50) for number in range(12)},
            )
            for ticker, base in zip(PAIRS, (1000, 300), strict=True)
        }
        self.height = HEIGHT
        self._block_ns = BEGIN_NS
        self._event = 0
        self._number = 0
        self._hour = BEGIN_NS // HOUR
        self.orders: dict[str, list[_Order]] = {}
        self.fills: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []
        self.payments: list[dict[str, Any]] = []
        self.positions = dict.fromkeys(PAIRS, 0)
        self.cash = 10_000
        #: Positions, cash and orders as they were at the end of the last blocks, for copies that lag.
        self._past: list[tuple[int, dict[str, Any], list[_Order]]] = []
        self.is_quiet = False
        self.given = Given()
        self._wild: set[int] = set()
        self._looked = 0
        #: Blocks of the first snapshots of the account, and of each market's trades.
        self.watched = 0
        self._trades_since: dict[str, int] = {}
        self._keep()

    # -- the chain ---------------------------------------------------------------------------------------------

    @property
    def _time(self) -> str:
        return _iso(self.now_ns)

    def _event_id(self) -> str:
        self._event += 1
        return f"{self.height:08x}{2:08x}{self._event:08x}"

    def passed(self) -> None:
        """Blocks come, a rate is charged each hour, and subscriptions are answered."""
        due = (self.machine.true_ns - self._block_ns) // SECOND
        if due > 0:
            self._block_ns += due * SECOND
            # A long time at once is one block, so many higher.
            self._make_block(min(due, 5) if due < 60 else due)
        hour = self.machine.true_ns // HOUR
        while self._hour < hour:
            self._hour += 1
            self._settle_rates()
        for line in self.machine.lines.values():
            for join in list(line.state.get("joins", ())):
                if self.is_quiet or self.machine.true_ns >= join[0]:
                    line.state["joins"].remove(join)
                    self._joined(line, *join[1:])

    def make_block(self, rng: Random) -> None:
        self._make_block(1)

    def _make_block(self, count: int) -> None:
        self.height += count
        self._event = 0
        for order in self._live():
            if order.is_short and order.good_til < self.height:
                order.status = "CANCELED"
                order.reason = "EXPIRED"
        body = {"blockHeight": str(self.height), "time": self._time}
        self._tell("v4_block_height", "v4_block_height", body)
        if self.is_quiet:
            # Whatever a quiet connection would never show to be missing shows by the next frame.
            for market in self.markets.values():
                self._change_level(market, min(market.bids), self._rng.randint(1, 50))
        self._keep()

    def _keep(self) -> None:
        orders = [lives[-1].copy() for lives in self.orders.values()]
        self._past.append((self.height, self._subaccount(), orders))
        del self._past[:-8]

    def _settle_rates(self) -> None:
        for market in self.markets.values():
            stamp = datetime.fromtimestamp(self._hour * 3600, UTC)
            market.settled.append(
                {"ticker": market.ticker, "rate": f"0.0000{self._hour % 9 + 1}", "price": "777",
                 "effectiveAt": _iso(int(stamp.timestamp()) * SECOND + 200_000_000), "effectiveAtHeight": str(self.height)}
            )  # fmt: skip
            size = self.positions[market.ticker]
            if size:
                self.payments.append(
                    {"createdAt": self._time, "createdAtHeight": str(self.height), "ticker": market.ticker,
                     "payment": "-0.5", "size": _text(size), "side": "LONG" if size > 0 else "SHORT", "rate": "0.00001",
                     "subaccountNumber": "0"}
                )  # fmt: skip

    def _live(self) -> list[_Order]:
        return [lives[-1] for lives in self.orders.values() if lives[-1].lives]

    def _subaccount(self) -> dict[str, Any]:
        held = {ticker: self._position(ticker) for ticker, size in self.positions.items() if size}
        return {
            "address": ADDRESS, "subaccountNumber": 0, "equity": _text(self.cash), "freeCollateral": _text(self.cash),
            "openPerpetualPositions": held, "assetPositions": {"USDC": self._asset()} if self.cash else {},
            "latestProcessedBlockHeight": str(self.height),
        }  # fmt: skip

    def _position(self, ticker: str) -> dict[str, Any]:
        size = self.positions[ticker]
        return {
            "market": ticker, "status": "OPEN" if size else "CLOSED", "side": "LONG" if size >= 0 else "SHORT",
            "size": _text(size), "entryPrice": "100", "netFunding": "0", "subaccountNumber": 0,
        }  # fmt: skip

    def _asset(self) -> dict[str, Any]:
        return {
            "symbol": "USDC",
            "side": "LONG" if self.cash >= 0 else "SHORT",
            "size": _text(abs(self.cash)),
            "assetId": "0",
        }

    # -- what happens ------------------------------------------------------------------------------------------

    def move(self, rng: Random) -> None:
        """A level changes, or goes, or comes."""
        market = self.markets[rng.choice(PAIRS)]
        side = rng.choice((market.bids, market.asks))
        price = rng.choice(list(side)) if rng.random() < 0.7 else rng.choice(list(side)) + rng.choice((-2, -1, 1, 2))
        if (side is market.bids) == (price < min(market.asks)) and (side is market.asks) == (price > max(market.bids)):
            size = 0 if len(side) > 4 and rng.random() < 0.3 else rng.randint(1, 50)
            self._change_level(market, price, size, is_bid=side is market.bids)

    def _change_level(self, market: _Market, price: int, size: int, *, is_bid: bool = True) -> None:
        side = market.bids if is_bid else market.asks
        if size:
            side[price] = size
        else:
            side.pop(price, None)
        self._tell("v4_orderbook", market.ticker, {"bids" if is_bid else "asks": [[str(price), _text(size)]]})

    def trade(self, rng: Random) -> None:
        """Others trade; all of a block are in one frame."""
        self._trade(self.markets[rng.choice(PAIRS)], rng.randint(1, 3))

    def _trade(self, market: _Market, count: int) -> None:
        self._make_block(1)
        rows = [
            {"id": self._event_id(), "size": _text(self._rng.randint(1, 30)), "price": str(market.oracle),
             "side": self._rng.choice(("BUY", "SELL")), "createdAt": self._time, "type": "LIMIT"}
            for _ in range(count)
        ]  # fmt: skip
        market.trades += rows
        self._tell("v4_trades", market.ticker, {"trades": rows})

    def burst(self, rng: Random) -> None:
        """More than a page of trades and fills."""
        market = self.markets[rng.choice(PAIRS)]
        for _ in range(rng.randint(2, 6)):
            self._trade(market, rng.randint(20, 60))
        order = self._placed(rng, is_short=False, size=10_000)
        for _ in range(rng.randint(2, 6)):
            self._make_block(1)
            for _ in range(rng.randint(1, 60)):
                self._fill(order, 1, rng)
        self._cancel(order, "USER_CANCELED")

    def oracle(self, rng: Random) -> None:
        """A price, or a figure, of a market."""
        market = self.markets[rng.choice(PAIRS)]
        if rng.random() < 0.6:
            market.oracle = rng.randint(*MARKS)
            news = {"oraclePrice": str(market.oracle), "effectiveAt": self._time, "effectiveAtHeight": str(self.height)}
            self._tell("v4_markets", "", {"oraclePrices": {market.ticker: news}})
        else:
            market.interest = rng.randint(1, 999)
            self._tell(
                "v4_markets", "", {"trading": {market.ticker: {"id": "0", "openInterest": str(market.interest)}}}
            )

    def change_terms(self, rng: Random) -> None:
        """A market's tick or status."""
        market = self.markets[rng.choice(PAIRS)]
        market.tick, market.status = rng.choice(("1", "0.5", "2")), rng.choice(("ACTIVE", "PAUSED"))
        self._tell("v4_markets", "", {"trading": {market.ticker: {"tickSize": market.tick, "status": market.status}}})

    def place_short(self, rng: Random) -> None:
        """A short-term order, seen in the mempool: the frame may have no height."""
        self._placed(rng, is_short=True, size=rng.randint(1, 60))

    def place_long(self, rng: Random) -> None:
        """A long-term order, in a block."""
        self._placed(rng, is_short=False, size=rng.randint(1, 60))

    def _placed(self, rng: Random, *, is_short: bool, size: int, name: str = "") -> _Order:
        self._make_block(1)
        prefix = "s" if is_short else "l"
        # Ids are used again: only of what has ended, and of a short-term one only past its last block.
        again = [
            each
            for each, lives in self.orders.items()
            if each[0] == prefix
            and not lives[-1].lives
            and lives[-1].good_til < self.height
            and lives[-1].updated < self.height
        ]
        if not name and again and rng.random() < 0.8:
            name = rng.choice(again)
        elif not name:
            self._number += 1
            name = f"{prefix}{self._number}"
        # The market is part of what an id is made of.
        ticker = self.orders[name][-1].ticker if name in self.orders else rng.choice(PAIRS)
        order = _Order(
            name, ticker, rng.choice(("BUY", "SELL")), size, rng.randint(900, 1100), is_short, self.height,
            self.height + rng.randint(3, 20) if is_short else 0, updated=self.height,
        )  # fmt: skip
        if is_short:
            order.status = "BEST_EFFORT_OPENED"
        self.orders.setdefault(name, []).append(order)
        self._tell_account({"orders": [order.wire()]}, rng)
        self._keep()
        return order

    def fill(self, rng: Random) -> None:
        """A live order is filled, in part or whole."""
        live = self._live()
        if not live:
            return
        order = rng.choice(live)
        self._make_block(1)
        if not order.lives:
            return
        left = order.size - order.filled
        self._fill(order, left if rng.random() < 0.4 else rng.randint(1, left), rng)

    def _fill(self, order: _Order, size: int, rng: Random) -> None:
        order.filled += size
        order.first_fill = order.first_fill or self.height
        order.updated = self.height
        was_cancelled = order.status == "BEST_EFFORT_CANCELED"
        order.status = "FILLED" if order.filled == order.size else "OPEN"
        signed = size if order.side == "BUY" else -size
        self.positions[order.ticker] += signed
        self.cash -= signed
        event = self._event_id()
        row = {
            "id": f"f{event}", "side": order.side, "liquidity": "MAKER", "type": "LIMIT", "size": _text(size),
            "price": str(order.price), "createdAt": self._time, "createdAtHeight": str(self.height), "orderId": order.id,
            "fee": "0.1",
        }  # fmt: skip
        self.fills.append({**row, "market": order.ticker, "subaccountNumber": 0})
        told = {"fills": [{**row, "ticker": order.ticker, "eventId": event}], "orders": [order.wire()]}
        if was_cancelled and order.status == "OPEN":
            order.status = "BEST_EFFORT_CANCELED"
        holdings = {"perpetualPositions": [self._position(order.ticker)], "assetPositions": [self._asset()]}
        if rng.random() < 0.5:
            self._tell_account({**told, **holdings}, rng)
        else:
            self._tell_account(told, rng)
            self._tell_account(holdings, rng)
        self._keep()

    def cancel(self, rng: Random) -> None:
        """A live order is cancelled: a short-term one may still fill until its last block."""
        live = self._live()
        if not live:
            return
        order = rng.choice(live)
        self._make_block(1)
        if order.lives:
            self._cancel(order, rng.choice(("USER_CANCELED", "UNDERCOLLATERALIZED", "REDUCE_ONLY_RESIZE")))

    def _cancel(self, order: _Order, reason: str) -> None:
        order.status = "BEST_EFFORT_CANCELED" if order.is_short else "CANCELED"
        order.reason, order.updated = reason, self.height
        self._tell_account({"orders": [order.wire()]}, self._rng)
        self._keep()

    def deposit(self, rng: Random) -> None:
        """Collateral comes or goes."""
        self._make_block(1)
        is_in, amount = rng.random() < 0.7, rng.randint(1, 500)
        self.cash += amount if is_in else -amount
        self._number += 1
        own, other = {"address": ADDRESS, "subaccountNumber": 0}, {"address": "dydx1other"}
        row = {
            "type": "DEPOSIT" if is_in else "WITHDRAWAL", "createdAt": self._time, "createdAtHeight": str(self.height),
            "transactionHash": f"T{self._number}", "sender": other if is_in else own, "recipient": own if is_in else other,
        }  # fmt: skip
        self.transfers.append({**row, "id": f"t{self._number}", "amount": _text(amount), "asset": "USDC"})
        news = {"transfers": {**row, "size": _text(amount), "symbol": "USDC"}, "assetPositions": [self._asset()]}
        self._tell_account(news, rng)
        self._keep()

    def hours(self, rng: Random) -> None:
        """Hours go by, with REST up or down."""
        is_rest_down = rng.random() < 0.5
        self._clear_road()
        for _ in range(rng.randint(1, 5)):
            self.machine.idle(HOUR, is_rest_down=is_rest_down)
            self._clear_road()

    def outrun(self, rng: Random) -> None:
        """The account's connection is made again, and REST answers come before what happens then has come on it."""
        for line in self.machine.lines.values():
            if line.is_open and line.role == "accounts":
                self.machine.break_of(line)
        self.machine.open_lines()
        self.passed()
        self.machine.open_lines()
        known = [order for order in self._live() if not order.is_short]
        if known and rng.random() < 0.7:
            # One that the client knows ends, and its id stands for another one, which is filled.
            order = rng.choice(known)
            self._make_block(1)
            self._cancel(order, "USER_CANCELED")
            again = self._placed(rng, is_short=False, size=rng.randint(1, 60), name=order.id)
            self._make_block(1)
            self._fill(again, rng.randint(1, again.size), rng)
        else:
            for _ in range(rng.randint(1, 6)):
                rng.choice((self.place_long, self.place_long, self.fill, self.fill, self.cancel))(rng)
        self._make_block(rng.randint(1, LAG_MAX))
        for _ in range(rng.randint(1, 3)):
            self.machine.answer_all(rng)

    def _clear_road(self) -> None:
        """Nothing stays on the road for hours."""
        for line in self.machine.lines.values():
            self.machine._deliver(line, len(line.in_flight))

    def wild_height(self, rng: Random) -> None:
        """One frame names a block that cannot be."""
        height = rng.choice((self.height + 10**6, 2**53, 1))
        self._wild.add(height)
        is_alone = rng.random() < 0.5
        if is_alone:
            self._clear_road()
        if rng.random() < 0.5:
            self._send_account({"blockHeight": str(height)})
        else:
            body = {"blockHeight": str(height), "time": self._time}
            self._tell("v4_block_height", "v4_block_height", body)
        if is_alone:
            self._clear_road()

    def settling(self) -> None:
        self.is_quiet = True
        for line in self.machine.lines.values():
            for join in list(line.state.get("joins", ())):
                line.state["joins"].remove(join)
                self._joined(line, *join[1:])

    # -- the socket --------------------------------------------------------------------------------------------

    def make_protocol(self) -> VenueProtocol:
        return find_venue("dydx_v4").make_protocol(ProtocolOptions(pairs=PAIRS, accounts=(USER,)))

    def opened(self, line: Line) -> None:
        line.state = {
            "name": f"{line.role}-{line.epoch}-{self.machine.true_ns}",
            "number": 0,
            "subs": set(),
            "joins": [],
        }
        line.send({"type": "connected", "connection_id": line.state["name"], "message_id": self._next(line)})

    def receive(self, line: Line, text: bytes) -> None:
        request = msgspec.json.decode(text)
        channel, name = request["channel"], request.get("id", "")
        number = self._next(line)
        if request["type"] == "unsubscribe":
            line.state["subs"].discard((channel, name))
            line.send({"type": "unsubscribed", "connection_id": line.state["name"], "message_id": number,
                       "channel": channel, "id": name})  # fmt: skip
            return
        # Fetched now, sent later; only of accounts something may happen between that no frame tells.
        is_account = channel == "v4_subaccounts"
        wait_ns = 0 if self.is_quiet or not is_account else self._rng.choice((0, 0, 1, 3)) * SECOND
        contents = self._contents(channel, name) if is_account else None
        line.state["joins"].append((self.machine.true_ns + wait_ns, channel, name, number, contents))

    def _contents(self, channel: str, name: str) -> Any:
        if channel == "v4_subaccounts":
            return {"subaccount": self._subaccount(), "orders": [order.wire(is_rest=True) for order in self._live()],
                    "blockHeight": str(self.height)}  # fmt: skip
        if channel == "v4_orderbook":
            return self.markets[name].levels()
        if channel == "v4_trades":
            rows = self.markets[name].trades[-PAGE:]
            return {"trades": [{**row, "createdAtHeight": str(int(row["id"][:8], 16))} for row in reversed(rows)]}
        if channel == "v4_markets":
            return {"markets": {ticker: market.row() for ticker, market in self.markets.items()}}
        return {"height": str(self.height), "time": self._time}

    def _joined(self, line: Line, channel: str, name: str, number: int, contents: Any) -> None:
        contents = contents if contents is not None else self._contents(channel, name)
        line.state["subs"].add((channel, name))
        frame = {"type": "subscribed", "connection_id": line.state["name"], "message_id": number, "channel": channel}
        line.send({**frame, **({"id": name} if name else {}), "contents": contents})

    def _next(self, line: Line) -> int:
        line.state["number"] += 1
        return int(line.state["number"]) - 1

    def _tell(self, channel: str, name: str, contents: Any) -> None:
        for line in self.machine.lines.values():
            key = (channel, "" if channel == "v4_block_height" else name)
            if line.is_open and key in line.state.get("subs", ()):
                frame = {"type": "channel_data", "connection_id": line.state["name"], "message_id": self._next(line),
                         "channel": channel, "version": "1.0.0", "contents": contents}  # fmt: skip
                line.send({**frame, **({"id": name} if name else {})})

    def _tell_account(self, contents: dict[str, Any], rng: Random) -> None:
        # Frames of optimistic orders may have no height, and some of positions.
        is_on_chain = any(order["orderFlags"] == "64" for order in contents.get("orders", ()))
        is_bare = rng.random() < 0.25 and not is_on_chain
        self._send_account(contents if is_bare else {**contents, "blockHeight": str(self.height)})

    def _send_account(self, contents: dict[str, Any]) -> None:
        for line in self.machine.lines.values():
            if line.is_open and "blockHeight" not in contents:
                self.given.bare[line.state["name"], line.state["number"]] = self.height
        self._tell("v4_subaccounts", USER, contents)

    def lost(self, line: Line, payload: bytes) -> bool:
        # A missing number shows what was data; an answer that was lost is waited for much longer.
        return b'"type":"channel_data"' not in payload

    def delivered(self, line: Line, payload: bytes) -> None:
        frame = msgspec.json.decode(payload)
        self.given.frame(frame, self.height)
        if frame["type"] == "channel_data" and frame["channel"] == "v4_subaccounts":
            for row in frame["contents"].get("orders", ()):
                if (
                    isinstance(row, dict)
                    and row.get("totalFilled") == "0"
                    and row["status"].endswith(("OPEN", "OPENED"))
                ):
                    self.orders[row["id"]][-1].was_seen = True
        if frame["type"] != "subscribed":
            return
        if frame["channel"] == "v4_subaccounts":
            self.watched = self.watched or int(frame["contents"]["blockHeight"])
        elif frame["channel"] == "v4_trades" and frame["id"] not in self._trades_since:
            heights = [
                int(row["id"][:8], 16)
                for row in frame["contents"]["trades"]
                if isinstance(row, dict) and "price" in row
            ]
            self._trades_since[frame["id"]] = max(heights, default=self.height)

    def garbled(self, payload: bytes, rng: Random) -> bytes:
        frame = msgspec.json.decode(payload)
        contents = frame.get("contents")
        if not isinstance(contents, dict):
            return payload
        if frame["channel"] == "v4_subaccounts":
            _garble_account(contents, rng)
        elif frame["channel"] == "v4_trades":
            contents["trades"].insert(rng.randint(0, len(contents["trades"])), rng.choice(_ODD_ROWS))
        elif frame["channel"] == "v4_markets":
            for part in contents.values():
                part["JUNK-USD"] = rng.choice((5, None, {"oraclePrice": "many"}, {}))
                if frame["type"] == "subscribed":
                    next(iter(part.values()))["volume24H"] = rng.choice(("many", "NaN", [1]))
        return bytes(msgspec.json.encode(frame))

    # -- REST --------------------------------------------------------------------------------------------------

    def answer(self, call: RestCall) -> tuple[int, bytes]:
        path, _, text = call.path.partition("?")
        query = {name: values[-1] for name, values in parse_qs(text).items()}
        lag = 0 if self.is_quiet else self._rng.randint(0, LAG_MAX)
        status, body = self._answer([unquote(part) for part in path.strip("/").split("/")], query, self.height - lag)
        return status, bytes(msgspec.json.encode(body))

    def first_answer(self, call: RestCall) -> tuple[int, bytes]:
        if call.tag == "time" and self._rng.random() < 0.3:
            return 404, b"{}"
        status, body = self.answer(call)
        return status, self.garbled_answer(call.tag, body, self._rng) if self._rng.random() < 0.3 else body

    def _answer(self, parts: list[str], query: dict[str, str], height: int) -> tuple[int, Any]:
        until = min(height, int(query.get("createdBeforeOrAtHeight", 2**53)))
        place = (int(query.get("page", 1)) - 1) * PAGE
        match parts:
            case ["time"]:
                return 200, {"iso": self._time, "epoch": self.now_ns / SECOND}
            case ["perpetualMarkets"]:
                wanted = query.get("ticker")
                return 200, {
                    "markets": {name: each.row() for name, each in self.markets.items() if wanted in (None, name)}
                }
            case ["historicalFunding", ticker]:
                before = query.get("effectiveBeforeOrAt", "9")
                rows = [row for row in self.markets[ticker].settled if row["effectiveAt"] <= before]
                return 200, {"historicalFunding": rows[::-1][: min(int(query["limit"]), 30)]}
            case ["trades", "perpetualMarket", ticker]:
                rows = [row for row in self.markets[ticker].trades if int(row["id"][:8], 16) <= until]
                return 200, {"trades": rows[::-1][place : place + PAGE]}
            case ["addresses", _, "subaccountNumber", _]:
                past = [whole for at, whole, _ in self._past if at <= height] or [self._past[0][1]]
                return 200, {"subaccount": past[-1]}
            case ["orders"]:
                past_orders = [orders for at, _, orders in self._past if at <= height] or [self._past[0][2]]
                # In the database are those that were ever in a block; of the others what still lives.
                listed = [order for order in past_orders[-1] if not order.is_short or order.filled or order.lives]
                listed.sort(key=lambda order: order.updated, reverse=True)
                return 200, [order.wire(is_rest=True) for order in listed]
            case ["orders", name]:
                lives = self.orders.get(name)
                return (200, lives[-1].wire(is_rest=True)) if lives else (404, {})
            case ["fills"]:
                return 200, {"fills": self._rows(self.fills, until)[place : place + PAGE]}
            case ["transfers"]:
                return 200, {"transfers": self._rows(self.transfers, until)[place : place + PAGE]}
            case ["fundingPayments"]:
                return 200, {"fundingPayments": self._rows(self.payments, until)[place : place + PAGE]}
            case _:
                return 404, {}

    @staticmethod
    def _rows(rows: list[dict[str, Any]], until: int) -> list[dict[str, Any]]:
        return [row for row in reversed(rows) if int(row["createdAtHeight"]) <= until]

    def garbled_answer(self, tag: str, body: bytes, rng: Random) -> bytes:
        rows = msgspec.json.decode(body)
        what = tag.partition(":")[0]
        inner: Any = (
            rows if what == "accountOrders" else next(iter(rows.values()), None) if isinstance(rows, dict) else None
        )
        if isinstance(inner, list):
            inner.insert(rng.randint(0, len(inner)), rng.choice(_ODD_ROWS))
        elif what in ("perpetualMarkets", "terms"):
            inner["JUNK-USD"] = rng.choice((5, {}, {"tickSize": "-1"}))
        return bytes(msgspec.json.encode(rows))

    # -- what both believe -------------------------------------------------------------------------------------

    def answered(self, call: RestCall, status: int, body: bytes) -> None:
        self.given.answer(call.tag, status, body, self.height)

    def invariants(self) -> list[str]:
        return [*self.given.broken(self.machine, USER), *self._ended_too_soon()]

    def _ended_too_soon(self) -> Iterator[str]:
        """Orders that are said to have ended by their last block, which has not passed. Of two wild blocks one may be."""
        messages, self._looked = self.machine.messages[self._looked :], len(self.machine.messages)
        for each in messages:
            if isinstance(each, OrderUpdate) and each.status == PASSED and len(self._wild) < 2:
                lives = self.orders.get(each.order_id, [])
                if len(lives) == 1 and lives[0].good_til >= self.height:
                    yield f"order {each.order_id} is said to have ended by block {lives[0].good_til - HEIGHT}"

    def differences(self) -> list[str]:
        self.is_quiet = False
        stale = self._stale()
        found: list[str] = []
        for ticker in PAIRS:
            found += self._market_differences(ticker, stale)
        if ("", f"account {USER}") not in stale:
            if ("", f"missed {USER}") not in stale:
                found += self._account_differences()
            if ("", f"positions {USER}") not in stale:
                found += self._holding_differences()
        return found

    def _stale(self) -> set[tuple[str, str]]:
        """The streams that the client says are stale."""
        return {(each.symbol, each.stream) for each in self.machine.protocol.streams if not each.is_live}

    def _market_differences(self, ticker: str, stale: set[tuple[str, str]]) -> Iterator[str]:
        market, messages = self.markets[ticker], self.machine.messages
        book = self.machine.books.book(ticker)
        if not book.is_stale:
            for side, levels in (("bids", book.bids), ("asks", book.asks)):
                told = {level.price: level.size for level in levels}
                true = {float(px): sz / 10 for px, sz in getattr(market, side).items()}
                if told != true:
                    yield f"{ticker} {side}: {sorted(set(told.items()) ^ set(true.items()))[:4]}"
        if (ticker, "trades") not in stale and (ticker, "missed trades") not in stale:
            rows = [each for each in messages if isinstance(each, Trade) and each.symbol == ticker]
            news = [each.trade_id for each in rows if not each.is_duplicate]
            if len(news) != len(set(news)):
                yield f"{ticker}: {len(news) - len(set(news))} trades told twice"
            since = self._trades_since.get(ticker, 2**53)
            missing = {row["id"] for row in market.trades if int(row["id"][:8], 16) > since} - set(news)
            if missing:
                yield f"{ticker}: {len(missing)} trades missing, such as block {int(min(missing)[:8], 16) - HEIGHT}"
        if (ticker, "settled") not in stale:
            told_rates = [
                each.ts_event for each in messages
                if isinstance(each, FundingInfo) and each.kind is FundingKind.SETTLED and each.symbol == ticker
            ]  # fmt: skip
            if len(told_rates) != len(set(told_rates)) or len(told_rates) != len(market.settled):
                yield f"{ticker}: {len(told_rates)} settled rates, {len(set(told_rates))} different, of {len(market.settled)}"
        if ("", "markets") not in stale and (ticker, "funding") not in stale:
            state = self.machine.books.funding_info(ticker)
            if state is None or (state.mark_price, state.open_interest) != (market.oracle, market.interest):
                yield f"{ticker}: {state}, the model has {market.oracle}, {market.interest}"
            terms = [each for each in messages if isinstance(each, Instrument) and each.symbol == ticker][-1]
            if (terms.price_tick, terms.is_active) != (float(market.tick), market.status == "ACTIVE"):
                yield f"{ticker}: tick {terms.price_tick}, active {terms.is_active}, not {market.tick}, {market.status}"

    def _account_differences(self) -> Iterator[str]:
        messages = self.machine.messages
        lists: tuple[tuple[str, Any, list[dict[str, Any]], Callable[[Any], str]], ...] = (
            ("fills", Fill, self.fills, lambda each: each.fill_id),
            ("transfers", AccountEvent, self.transfers, lambda each: each.event_id.rpartition("/")[2]),
            ("payments", FundingPayment, self.payments, lambda each: f"{each.symbol}/{each.payment_id}"),
        )
        keys: dict[str, Callable[[dict[str, Any]], str]] = {
            "fills": lambda row: str(row["id"]),
            "transfers": lambda row: str(row["transactionHash"]),
            "payments": lambda row: f"{row['ticker']}/{row['createdAtHeight']}",
        }
        for name, kind, rows, key in lists:
            told = [each for each in messages if isinstance(each, kind)]
            ids = [key(each) for each in told]
            if len(ids) != len(set(ids)):
                yield f"{len(ids) - len(set(ids))} {name} told twice"
            heights = {keys[name](row): int(row["createdAtHeight"]) for row in rows}
            missing = {each for each, height in heights.items() if height > self.watched} - set(ids)
            # Payments are asked for once an hour.
            if missing and name != "payments":
                yield f"{len(missing)} {name} missing of {len(rows)}, such as {min(missing)}"
            for each in told:
                height = heights.get(key(each))
                if height is None:
                    yield f"{name}: {key(each)} never was"
                elif each.is_history and height > self.watched + _UNSURE:
                    yield f"{name}: is_history of block {height - HEIGHT} is {each.is_history}"
        yield from self._order_differences()

    def _order_differences(self) -> Iterator[str]:
        told = {each.order_id for each in self.machine.messages if isinstance(each, OrderUpdate)}
        for name, lives in self.orders.items():
            order = lives[-1]
            known = self.machine.users.orders.find(name)
            must = order.lives or bool(order.filled) or not order.is_short
            if (order.updated <= self.watched and not order.lives) or not self._is_certain(lives):
                continue
            if known is None or name not in told:
                if must:
                    yield f"order {name} is not known, the model has {order}"
                continue
            state = str(known.state)
            fine: tuple[str, ...]
            if order.lives:
                fine = ("open", "partially_filled", "pending_cancel")
                if order.status == "BEST_EFFORT_CANCELED":
                    fine = ("pending_cancel", "open", "partially_filled")
            elif order.status == "FILLED":
                fine = ("filled",)
            elif order.is_short:
                fine = ("expired", "cancelled", "failed") if not order.filled else ("expired", "cancelled")
            else:
                fine = ("cancelled",) if order.filled else ("cancelled", "failed")
            if not order.filled and order.is_short and not order.lives and known.is_done:
                continue  # this one or the one before it: what never was in a block is in no list
            if state not in fine:
                yield f"order {name} is {state} ({known.status}), the model has {order.status}, {order}"
            elif must and float(known.filled) != order.filled / 10:
                yield f"order {name} is filled {known.filled}, the model has {order}"

    def _is_certain(self, lives: list[_Order]) -> bool:
        """
        Whether it can be told which of the orders of that id a fill is of.

        Not where some were filled before the account was watched, nor where nobody heard one of them being placed. Of
        long-term ones, which say in which block they were, it is enough to have heard of the last and of one before it:
        what is filled of an id that nobody has heard of is told as the first one's.
        """
        heard = [order.was_seen for order in lives]
        is_enough = not lives[-1].is_short and heard[-1] and any(heard[:-1])
        if len(lives) > 1 and not all(heard) and not is_enough:
            return False
        return not any(order.first_fill and order.first_fill <= self.watched for order in lives)

    def _holding_differences(self) -> Iterator[str]:
        for ticker, size in self.positions.items():
            known = self.machine.users.positions.find(ticker)
            told = 0.0 if known is None else float(known.size)
            if told != size / 10:
                yield f"position in {ticker} is {told}, the model has {size / 10}"
            is_told = known is not None and not any(name in ("markets", "funding") for _, name in self._stale())
            if size and is_told and known is not None and known.mark_price not in (None, self.markets[ticker].oracle):
                yield f"{ticker} is marked at {known.mark_price}, the model at {self.markets[ticker].oracle}"
        balance = self.machine.users.balances.find("USDC", wallet="collateral")
        if balance is None or balance.total != self.cash / 10:
            yield f"collateral is {balance and balance.total}, the model has {self.cash / 10}"


def _iso(ns: int) -> str:
    text = datetime.fromtimestamp(ns // SECOND, UTC).isoformat().replace("+00:00", "")
    return f"{text}.{ns % SECOND // 1_000_000:03}Z"


_ODD_ROWS: Final[tuple[Any, ...]] = (5, None, {}, {"id": 5}, {"id": "junk", "side": "SIDEWAYS"}, ["x"])


def _garble_account(contents: dict[str, Any], rng: Random) -> None:
    """Something beside what the frame says, or a field of it that may be absent."""
    match rng.randrange(5):
        case 0:
            contents["orders"] = [*contents.get("orders", ()), rng.choice(_ODD_ROWS)]
        case 1:
            contents["fills"] = [rng.choice(_ODD_ROWS), *contents.get("fills", ())]
        case 2:
            for row in contents.get("orders", ()):
                row |= {"reduceOnly": "perhaps", "triggerPrice": "NaN", "somethingNew": [1]}
        case 3:
            contents["somethingNew"] = {"a": 1}
            for row in contents.get("fills", ()):
                row |= {"liquidity": "RAIN", "type": "GIFT"}
        case _:
            contents.setdefault("transfers", {"type": "GIFT"})
            contents["tradingReward"] = "much"
