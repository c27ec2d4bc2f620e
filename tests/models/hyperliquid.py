"""
A model of Hyperliquid: two coins and one account, and what the venue's sheet says that it sends of them.

Exact and small: prices are whole numbers, sizes tenths. Whatever happens is stamped with the venue's clock, which may be
set; the model itself remembers when it truly happened.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any, ClassVar, Final

import msgspec

from tests.models.hyperliquid_book import (
    DAY,
    HOUR,
    JUNK,
    NEAR_NS,
    OTHER,
    PAIRS,
    PERP,
    SPOT,
    STATES,
    UNSURE_NS,
    USER,
    Book,
    Order,
    in_tenths,
    trade_key,
)
from tests.models.hyperliquid_odd import odd_answer, odd_entry, odd_frame
from tests.models.hyperliquid_truth import broken_invariants, differences
from tests.models.machine import SECOND, Line, Model
from toolkit.protocol import ProtocolOptions, RestCall, VenueProtocol
from toolkit.venue import find_venue

__all__ = ["HyperliquidModel"]

#: The time in a book or quote, ms.
_STAMP: Final = re.compile(rb'\{"channel":"(?:l2Book|bbo)","data":\{"coin":"[^"]+","time":(\d+)')


class HyperliquidModel(Model):
    """Two coins, one account."""

    settle_ns: ClassVar[int] = 12 * SECOND
    long_ns: ClassVar[int] = 3 * HOUR
    actions: ClassVar[dict[str, int]] = {
        "move": 10, "trade": 8, "dust": 1, "place": 5, "fill": 7, "cancel": 3, "take_profit": 1, "pay_funding": 2,
        "deposit": 2, "spend": 2, "announce": 1, "set_back": 1, "hours": 2, "change_terms": 1,
    }  # fmt: skip

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._rng = rng
        #: What is recorded: both coins, or the one that one reply names.
        self.pairs = PAIRS if rng.random() < 0.8 else {PERP: PAIRS[PERP]}
        self.books = {
            coin: Book(
                coin,
                {base - 1 - number: rng.randint(1, 50) for number in range(26)},
                {base + number: rng.randint(1, 50) for number in range(26)},
            )
            for coin, base in ((PERP, 1000), (SPOT, 300))
        }
        #: Coins of which a subscriber is sent no old trades, since there are none; and whether an order of long ago has
        #: a status that nobody knows.
        self.quiet_coins = {coin for coin in PAIRS if rng.random() < 0.3}
        self.has_unknown_order = rng.random() < 0.5
        self.terms = {"szDecimals": 5, "maxLeverage": 50}
        self._tid = 10**14
        self._oid = 1000
        self.orders: dict[int, Order] = {}
        self.fills: list[tuple[int, dict[str, Any]]] = []
        self.payments: list[tuple[int, dict[str, Any]]] = []
        self.ledger: list[tuple[int, dict[str, Any]]] = []
        self.position, self.entry = Decimal(0), Decimal(0)
        self.cash = Decimal(10_000)
        self.spot = {"USDC": 5000, "HYPE": 70}
        self.is_quiet = False
        #: True times at which the account and each coin's trades were first, or last, subscribed.
        self.watched_ns = 0
        self.is_begun = False
        self._trades_since: dict[str, int] = {}
        #: Trades that have reached the client, and whether they were history; None where that may be either.
        self.delivered_trades: dict[tuple[str, int, int, str], bool | None] = {}
        #: The newest settlement that an answer which reached the client could hold.
        self.settled_until: dict[str, int] = {}
        self.vanished: set[str] = set()
        #: Messages whose books were looked at.
        self.looked = 0
        self._hour_ns = 0
        self._clock_was_set = False
        self._lateness: deque[int] = deque(maxlen=12)
        self._state_ns = 0
        self._said: dict[str, Any] = {}

    # -- the market and the account before anybody looks ---------------------------------------------------------

    def _live_before(self) -> None:
        """What happened in the months before."""
        true_ns = self.machine.true_ns
        for days in (115, 60, 3):
            self.machine.true_ns = true_ns - days * DAY
            order = self._new_order("B", 990, 20)
            self._trade_order(order, 20 if days != 60 else 5)
            if order.is_open:
                self._end(order, "canceled")
            self._pay(-3)
            self._book_ledger(25)
        for age_s in (5400, 900, 40, 12, 9, 4):
            self.machine.true_ns = true_ns - age_s * SECOND
            for book in self.books.values():
                self._new_trade(book, self._rng)
        self.machine.true_ns = true_ns
        self._hour_ns = (true_ns - 30 * HOUR) // HOUR * HOUR
        self._settle_hours()
        self._new_order("B", 980, 30)

    def make_protocol(self) -> VenueProtocol:
        if not self.fills:
            self._live_before()
        options = ProtocolOptions(pairs=tuple(self.pairs.values()), accounts=(USER,))
        return find_venue("hyperliquid").make_protocol(options)

    # -- what happens ------------------------------------------------------------------------------------------

    def move(self, rng: Random) -> None:
        """Levels of a book change; its best price may move by several."""
        book = rng.choice(list(self.books.values()))
        shift = rng.choice([0, 0, 1, -1, 7, -7, 60, -60])
        if shift and min(book.bids) + shift > 0:
            book.bids = {px + shift: sz for px, sz in book.bids.items()}
            book.asks = {px + shift: sz for px, sz in book.asks.items()}
        for side in (book.bids, book.asks):
            side[rng.choice(list(side))] = rng.randint(1, 50)
        self._block()

    def trade(self, rng: Random) -> None:
        """One or more trades of one coin, or of none for long."""
        book = rng.choice(list(self.books.values()))
        self._send_trades(book, [self._new_trade(book, rng) for _ in range(rng.randint(1, 3))])
        self._block()

    def dust(self, rng: Random) -> None:
        """Conversions of dust: trades without an id, two of one moment."""
        book = self.books[SPOT]
        rows = [self._new_trade(book, rng) for _ in range(2)]
        for number, row in enumerate(rows):
            row |= {"tid": 0, "hash": "0x" + "0" * 64, "px": str(300 + number), "time": rows[0]["time"]}
        self._send_trades(book, rows)

    def place(self, rng: Random) -> None:
        """The account places an order."""
        order = self._new_order(rng.choice("AB"), rng.randint(900, 1100), rng.randint(1, 60))
        self._tell(orders=[order])

    def take_profit(self, rng: Random) -> None:
        """An order of the size of the whole position, whatever that is: 0."""
        if self.position > 0:
            order = self._new_order("A", 1200, 0)
            order.is_tpsl, order.size = True, int(self.position * 10)
            order.left = order.size
            self._tell(orders=[order])

    def fill(self, rng: Random) -> None:
        """An order is filled, in part or whole."""
        order = self._open_order(rng)
        if order is not None:
            self._trade_order(order, rng.randint(1, order.left) if rng.random() < 0.6 else order.left)
            self._tell(orders=[] if order.is_open else [order], fills=self.fills[-1:], is_shuffled=rng.random() < 0.5)

    def set_back(self, rng: Random) -> None:
        """The venue's clock is set back by a little between two fills."""
        self.fill(rng)
        self.clock_offset_ns -= rng.choice([1, 2, 3]) * SECOND
        self.fill(rng)

    def cancel(self, rng: Random) -> None:
        """An order ends without being filled."""
        order = self._open_order(rng)
        if order is not None:
            self._end(order, rng.choice(["canceled", "marginCanceled", "siblingFilledCanceled", "brandNewCanceled"]))
            self._tell(orders=[order])

    def pay_funding(self, rng: Random) -> None:
        """The position pays or receives funding."""
        self._pay(rng.randint(-20, 20))
        self._tell(payments=self.payments[-1:])

    def deposit(self, rng: Random) -> None:
        """The account's cash grows."""
        self._book_ledger(rng.randint(1, 500))
        self._tell(ledger=self.ledger[-1:])

    def spend(self, rng: Random) -> None:
        """A spot balance changes."""
        self.spot[rng.choice(list(self.spot))] = rng.choice([0, 1, 900, rng.randint(1, 9000)])
        self._tell()

    def announce(self, rng: Random) -> None:
        """The account takes over what another could not hold."""
        event = {
            "lid": rng.randrange(10**6),
            "liquidator": USER,
            "liquidated_user": OTHER,
            "liquidated_ntl_pos": in_tenths(rng.randint(10, 10**6)),
            "liquidated_account_value": "1.5",
        }
        for line in self._listening("userEvents"):
            line.send({"channel": "user", "data": {"liquidation": event}})

    def hours(self, rng: Random) -> None:
        """Hours pass, in which funding is settled. A connection that brings nothing for 40 s is given up, so it brings."""
        is_rest_down = rng.random() < 0.6
        self.machine.deliver(rng)
        for _ in range(rng.randint(1, 5)):
            self.machine.idle(HOUR, is_rest_down=is_rest_down)
            self.machine.deliver(rng)

    def change_terms(self, rng: Random) -> None:
        """The venue changes an instrument's terms."""
        #: Coins of which a subscriber is sent no old trades, since there are none; and whether an order of long ago has
        #: a status that nobody knows.
        self.quiet_coins = {coin for coin in PAIRS if rng.random() < 0.3}
        self.has_unknown_order = rng.random() < 0.5
        self.terms = {"szDecimals": rng.randint(1, 5), "maxLeverage": rng.choice([3, 10, 40, 50])}

    def _new_trade(self, book: Book, rng: Random) -> dict[str, Any]:
        # A hash of two orders: it may come again at another time.
        self._tid = self._tid + rng.randint(1, 10**6) if rng.random() < 0.95 else self._tid
        row = {
            "coin": book.coin,
            "side": rng.choice("AB"),
            "px": str(max(book.bids)),
            "sz": in_tenths(rng.randint(1, 90)),
            "time": self.now_ns // 1_000_000,
            "tid": self._tid,
            "hash": "0x" + "1" * 64,
        }
        book.trades.append((self.machine.true_ns, row))
        self.machine.true_ns += 1_000_000
        return row

    def _new_order(self, side: str, price: int, size: int) -> Order:
        self._oid += 1
        now_ms = self.now_ns // 1_000_000
        order = Order(self._oid, side, price, size, size, now_ms, status_ms=now_ms, true_ns=self.machine.true_ns)
        self.orders[order.oid] = order
        return order

    def _open_order(self, rng: Random) -> Order | None:
        orders = [order for order in self.orders.values() if order.is_open and order.left]
        return rng.choice(orders) if orders else None

    def _end(self, order: Order, status: str) -> None:
        order.status, order.status_ms, order.true_ns = status, self.now_ns // 1_000_000, self.machine.true_ns

    def _trade_order(self, order: Order, tenths: int) -> None:
        self._tid += 7
        before, size = self.position, Decimal(tenths) / 10
        after = before + (size if order.side == "B" else -size)
        price = Decimal(order.price)
        profit = Decimal(0)
        if before * after < 0 or not before:
            profit = (price - self.entry) * before if before else profit
            self.entry = price
        elif abs(after) < abs(before):
            profit = (price - self.entry) * (before - after)
        else:
            self.entry = (self.entry * before + price * (after - before)) / after
        profit = round(profit, 6)
        self.position, self.cash = after, self.cash + profit - Decimal("0.1")
        self.machine.true_ns += 1_000_000
        row = {
            "coin": PERP,
            "px": str(order.price),
            "sz": str(size),
            "side": order.side,
            "time": self.now_ns // 1_000_000,
            "startPosition": str(before),
            "dir": "Open Long",
            "closedPnl": str(profit),
            "hash": "0x1",
            "oid": order.oid,
            "crossed": True,
            "fee": "0.1",
            "tid": self._tid,
            "feeToken": "USDC",
        }
        if self._tid % 3 == 0:
            # It traded with somebody whose position was closed by force; the account's own never is.
            row["liquidation"] = {"liquidatedUser": OTHER, "markPx": "1", "method": "market"}
        self.fills.append((self.machine.true_ns, row))
        order.left -= tenths
        if not order.left:
            self._end(order, "filled")

    def _pay(self, tenths: int) -> None:
        self.machine.true_ns += 1_000_000
        row = {
            "time": self.now_ns // 1_000_000,
            "coin": PERP,
            "usdc": in_tenths(tenths),
            "szi": "1",
            "fundingRate": "0.1",
        }
        self.payments.append((self.machine.true_ns, row))
        self.cash += Decimal(tenths) / 10

    def _book_ledger(self, tenths: int) -> None:
        self.machine.true_ns += 1_000_000
        delta = {"type": "deposit", "usdc": in_tenths(tenths)}
        row = {"time": self.now_ns // 1_000_000, "hash": f"0x{len(self.ledger):x}", "delta": delta}
        self.ledger.append((self.machine.true_ns, row))
        self.cash += Decimal(tenths) / 10

    def _settle_hours(self) -> None:
        while self._hour_ns + HOUR <= self.machine.true_ns:
            self._hour_ns += HOUR
            row = {"coin": PERP, "fundingRate": "0.0001", "premium": "0", "time": self._hour_ns // 1_000_000 + 50}
            self.books[PERP].settled.append(row)

    # -- what is sent of it ------------------------------------------------------------------------------------

    def opened(self, line: Line) -> None:
        self.is_begun = True
        if line.role == "user-0" and not self.watched_ns:
            self.watched_ns = self.machine.true_ns

    def passed(self) -> None:
        if self.clock_offset_ns:
            self._clock_was_set = True
        self._settle_hours()
        self._block()
        if self.machine.true_ns - self._state_ns >= 5 * SECOND:
            self._state_ns = self.machine.true_ns
            self._send_states(is_repeat=True)

    def _block(self) -> None:
        """Push of the market what is due, and the best prices if they changed."""
        for book in self.books.values():
            best = [side[0] if side else None for side in book.levels(1)]
            if best != book.best:
                book.best = best
                for line in self._listening("bbo", book.coin):
                    line.send(self._quote(book))
            for kind, every_ns in (("fast", SECOND // 2), ("full", 5 * SECOND), ("ctx", SECOND)):
                if self.machine.true_ns - book.pushed.get(kind, 0) >= every_ns:
                    book.pushed[kind] = self.machine.true_ns
                    for line in self._listening(kind, book.coin):
                        line.send(self._ctx(book) if kind == "ctx" else self._depth(book, kind))

    def _listening(self, kind: str, coin: str = "") -> Iterator[Line]:
        for line in self.machine.lines.values():
            if line.is_open and f"{kind} {coin}" in line.state:
                yield line

    def _quote(self, book: Book) -> dict[str, Any]:
        data = {"coin": book.coin, "time": self.now_ns // 1_000_000, "bbo": book.best}
        return {"channel": "bbo", "data": data}

    def _depth(self, book: Book, kind: str) -> dict[str, Any]:
        more = {"fast": True} if kind == "fast" else {}
        levels = book.levels(5 if kind == "fast" else 20)
        data = {"coin": book.coin, "time": self.now_ns // 1_000_000, "levels": levels, **more}
        return {"channel": "l2Book", "data": data}

    def _ctx(self, book: Book) -> dict[str, Any]:
        mark = {"markPx": str(max(book.bids)), "dayNtlVlm": "5"}
        if book.coin == PERP:
            ctx = {**mark, "funding": "0.0001", "oraclePx": mark["markPx"], "openInterest": "7", "premium": None}
            return {"channel": "activeAssetCtx", "data": {"coin": PERP, "ctx": ctx}}
        return {"channel": "activeSpotAssetCtx", "data": {"coin": book.coin, "ctx": mark}}

    def _send_trades(self, book: Book, rows: list[dict[str, Any]]) -> None:
        for line in self._listening("trades", book.coin):
            line.send({"channel": "trades", "data": rows})

    def _tell(
        self,
        orders: list[Order] | None = None,
        fills: list[tuple[int, dict[str, Any]]] | None = None,
        payments: list[tuple[int, dict[str, Any]]] | None = None,
        ledger: list[tuple[int, dict[str, Any]]] | None = None,
        *,
        is_shuffled: bool = False,
    ) -> None:
        """Send what happened to the account; whether statuses precede fills is not promised."""
        named: list[tuple[str, str, Any]] = []
        if orders:
            named.append(("orderUpdates", "orderUpdates", [order.row() for order in orders]))
        if fills:
            rows = [row for _, row in fills]
            named.append(("userEvents", "user", {"fills": rows}))
            named.append(("userFills", "userFills", {"user": USER, "fills": rows}))
        if payments:
            rows = [row for _, row in payments]
            named.append(("userEvents", "user", {"funding": rows[0]}))
            named.append(("userFundings", "userFundings", {"user": USER, "fundings": rows}))
        if ledger:
            data = {"user": USER, "nonFundingLedgerUpdates": [row for _, row in ledger]}
            named.append(("userNonFundingLedgerUpdates", "userNonFundingLedgerUpdates", data))
        for kind, channel, data in named[::-1] if is_shuffled else named:
            for line in self._listening(kind):
                line.send({"channel": channel, "data": data})
        self._send_states()

    def _send_states(self, *, is_repeat: bool = False) -> None:
        for kind in STATES:
            state = self._state(kind)
            timeless = msgspec.json.encode(self._state(kind, time_ms=0))
            if is_repeat or self._said.get(kind) != timeless:
                self._said[kind] = timeless
                for line in self._listening(kind):
                    line.send({"channel": kind, "data": state})

    def _state(self, kind: str, time_ms: int | None = None) -> dict[str, Any]:
        if kind == "openOrders":
            rows = [order.listed() for order in self.orders.values() if order.is_open]
            return {"dex": "", "user": USER, "orders": rows}
        if kind == "spotState":
            rows = [{"coin": coin, "total": in_tenths(held), "hold": "0"} for coin, held in self.spot.items() if held]
            return {"user": USER, "spotState": {"balances": rows}}
        positions = []
        if self.position:
            position = {
                "coin": PERP,
                "szi": str(self.position),
                "entryPx": str(round(self.entry, 8)),
                "positionValue": str(abs(self.position) * 1000),
                "unrealizedPnl": "0",
                "marginUsed": "1",
                "leverage": {"type": "cross", "value": 20},
                "liquidationPx": None,
                "cumFunding": {"allTime": "0", "sinceOpen": "0", "sinceChange": "0"},
            }
            positions.append({"type": "oneWay", "position": position})
        state = {
            "marginSummary": {"accountValue": str(self.cash), "totalMarginUsed": "1"},
            "withdrawable": str(self.cash),
            "assetPositions": positions,
            "time": self.now_ns // 1_000_000 if time_ms is None else time_ms,
        }
        return {"user": USER, "clearinghouseStates": [["", state]]}

    def receive(self, line: Line, text: bytes) -> None:
        request = msgspec.json.decode(text)
        words = request.get("subscription")
        if request.get("method") != "subscribe":
            return
        kind, coin = words["type"], words.get("coin", "")
        if kind == "l2Book":
            kind = "fast" if words.get("fast") else "full"
        elif kind == "activeAssetCtx":
            kind = "ctx"
        if f"{kind} {coin}" in line.state:
            line.send({"channel": "error", "data": f"Already subscribed: {msgspec.json.encode(words).decode()}"})
            return
        line.state[f"{kind} {coin}"] = True
        full = {"nSigFigs": None, "mantissa": None, "fast": False} if words["type"] == "l2Book" else {}
        line.send(
            {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": {**full, **words}}}
        )
        for frame in self._first_frames(kind, coin):
            line.send(frame)

    def _first_frames(self, kind: str, coin: str) -> list[Any]:
        match kind:
            case "fast" | "full":
                return [self._depth(self.books[coin], kind)]
            case "bbo":
                self.books[coin].best = [side[0] for side in self.books[coin].levels(1)]
                return [self._quote(self.books[coin])]
            case "trades":
                self._trades_since[coin] = self.machine.true_ns
                if coin in self.quiet_coins:
                    return []
                rows = [row for _, row in self.books[coin].trades[-30:]]
                return [{"channel": "trades", "data": rows}]
            case "userFills":
                return [self._snapshot(kind, "fills", self.fills)]
            case "userFundings":
                return [self._snapshot(kind, "fundings", self.payments)]
            case "userNonFundingLedgerUpdates":
                return [self._snapshot(kind, "nonFundingLedgerUpdates", self.ledger)]
            case _ if kind in STATES:
                return [{"channel": kind, "data": self._state(kind)}]
            case _:
                return []

    @staticmethod
    def _snapshot(channel: str, name: str, rows: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
        newest_first = [row for _, row in rows[:-2001:-1]]
        return {"channel": channel, "data": {"user": USER, name: newest_first, "isSnapshot": True}}

    def answer(self, call: RestCall) -> tuple[int, bytes]:
        asked = msgspec.json.decode(call.body)
        match asked["type"]:
            case "meta":
                entries = [{"name": "ETH", "szDecimals": 4, "maxLeverage": 25}, {"name": PERP, **self.terms}]
                found: Any = {"universe": entries, "marginTables": [], "collateralToken": 0}
            case "spotMeta":
                tokens = [
                    {"name": "USDC", "szDecimals": 8, "index": 0},
                    {"name": "HYPE", "szDecimals": 2, "index": 150},
                ]
                found = {"tokens": tokens, "universe": [{"name": SPOT, "tokens": [150, 0], "index": 107}]}
            case "userRole":
                found = {"role": "user"}
            case "frontendOpenOrders":
                found = [order.listed() for order in self.orders.values() if order.is_open]
            case "historicalOrders":
                rows = sorted(self.orders.values(), key=lambda order: order.true_ns, reverse=True)
                found = [order.row() for order in rows]
                if self.has_unknown_order:
                    old = {**rows[-1].row(), "order": {**rows[-1].wire(), "oid": 7}, "status": "levitating"}
                    found.append(old)
            case "orderStatus":
                known = self.orders.get(asked["oid"])
                found = {"status": "order", "order": known.row()} if known is not None else {"status": "unknownOid"}
            case "userFillsByTime":
                found = [row for _, row in self.fills if row["time"] >= asked["startTime"]][:2000]
            case "fundingHistory":
                found = [row for row in self.books[PERP].settled if row["time"] >= asked["startTime"]][:500]
            case kind:
                raise AssertionError(f"the model does not know the request {kind!r}")
        body = msgspec.json.encode(found)
        is_listing = call.tag in ("meta", "spotMeta")
        if is_listing and self.is_begun and not self.machine.is_settling and self._rng.random() < 0.3:
            return 200, odd_answer(call.tag, body, self._rng)
        return 200, body

    # -- the road ----------------------------------------------------------------------------------------------

    def lost(self, line: Line, payload: bytes) -> bool:
        """Of the market nothing is owed: books are sent again, and what was traded is on no other road."""
        return line.role == "user-0" and b'"subscriptionResponse"' not in payload

    def delivered(self, line: Line, payload: bytes) -> None:
        if (stamp := _STAMP.match(payload)) is not None:
            self._lateness.append(self.machine.true_ns - int(stamp[1]) * 1_000_000)
        if not payload.startswith(b'{"channel":"trades"'):
            return
        for row in msgspec.json.decode(payload)["data"]:
            if not isinstance(row, dict) or row.get("hash") == JUNK:
                continue
            key = trade_key(row)
            if key not in self.delivered_trades:
                self.delivered_trades[key] = self._is_history(row)

    def _is_history(self, row: dict[str, Any]) -> bool | None:
        since = self._trades_since.get(row["coin"], 0)
        made = next((ns for ns, each in self.books[row["coin"]].trades if trade_key(each) == trade_key(row)), 0)
        near = UNSURE_NS if self._clock_was_set or self.clock_offset_ns else NEAR_NS
        # What time it is at the venue the newest stamps tell: where half of them were held up, they tell an earlier one.
        near = max(near, NEAR_NS + sorted(self._lateness)[len(self._lateness) // 2] if self._lateness else 0)
        # The stamps by which the client tells may have come as late as this did: then its limit is too early.
        late = self.machine.true_ns - since
        return None if since - near - late < made < since + near else made < since

    def answered(self, call: RestCall, status: int, body: bytes) -> None:
        """An answer has reached the client."""
        if status != 200:
            return
        if call.tag.startswith("fundingHistory:"):
            rows = [row for row in msgspec.json.decode(body) if isinstance(row, dict) and "premium" in row]
            newest = max((row["time"] for row in rows), default=0)
            self.settled_until[PERP] = max(newest, self.settled_until.get(PERP, 0))
        elif call.tag in ("meta", "spotMeta"):
            coin = {"meta": PERP, "spotMeta": SPOT}[call.tag]
            names = {each.get("name") for each in msgspec.json.decode(body)["universe"] if isinstance(each, dict)}
            (self.vanished.discard if coin in names else self.vanished.add)(coin)

    def garbled(self, payload: bytes, rng: Random) -> bytes:
        return odd_frame(payload, rng)

    def garbled_answer(self, tag: str, body: bytes, rng: Random) -> bytes:
        return odd_answer(tag, body, rng)

    def first_answer(self, call: RestCall) -> tuple[int, bytes]:
        status, body = self.answer(call)
        if call.tag == "spotMeta" and len(self.pairs) == 1:
            return self._rng.choice([200, 500]), body
        is_listing = call.tag in ("meta", "spotMeta")
        return status, odd_entry(body, self._rng) if is_listing and self._rng.random() < 0.5 else body

    def invariants(self) -> list[str]:
        return list(broken_invariants(self))

    def differences(self) -> list[str]:
        return list(differences(self))
