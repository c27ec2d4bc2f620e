"""
The seeded market behind the WebSocket and REST face of Binance's three markets, sans I/O.

USD-M has two routes of combined streams, as since April 2026: a stream that does not exist, or that is asked for on the wrong
route, is acknowledged like any other and never says anything. Spot and COIN-M have one. Account streams need a key and are
left out, as is `timeUnit=MICROSECOND`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs

from replay.serving.synthetic_venue import Ask, BaseSession, BaseVenue, Drop, Pings, Reply, Window, as_json
from replay.serving.venues.binance.requests import (
    MARKET,
    PUBLIC,
    Refused,
    Request,
    Stream,
    parse_request,
    parse_stream,
    route_of,
)
from replay.serving.venues.binance.synthetic.depth import Depth
from replay.serving.venues.binance.synthetic.listing import Listed, listing
from replay.serving.venues.binance.synthetic.rest import BinanceRest
from replay.serving.venues.binance.synthetic.tape import Printed, Tape
from replay.serving.venues.binance.synthetic.words import FUTURES
from replay.synthetic.market import Block, Market
from replay.synthetic.traders import AccountsOptions
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.rng import seeded
from toolkit.venues.binance.products import COINM, SPOT, USDM, Product

__all__ = [
    "BinanceOptions",
    "BinanceSession",
    "SpotOptions",
    "SyntheticBinance",
    "SyntheticBinanceCoinM",
    "SyntheticBinanceSpot",
    "SyntheticBinanceUsdM",
]

_TOO_FAST = Drop(1008, "Too many requests")
_DAY_OVER = Drop(1001, "")
_SPEEDS = {
    "depth@100ms": 100 * NS_PER_MS,
    "depth@0ms": 0,
    "depth": 250 * NS_PER_MS,
    "depth@500ms": 500 * NS_PER_MS,
}
_SPOT_SPEEDS = {"depth@100ms": 100 * NS_PER_MS, "depth": 1000 * NS_PER_MS}


@dataclass(frozen=True, slots=True, kw_only=True)
class BinanceOptions:
    """
    Cadences and limits of the venue; the defaults are the real ones of futures.

    Attributes:
        depth_every_ns: Least time between diffs by stream name, ns; 0 for a frame per block with a change.
        mark_every_ns: Between mark prices of `@markPrice@1s`; those without the speed take three times that.
        forced_every_ns: At most one liquidation per symbol within this.
        messages_per_second: More from a client end its connection.
        streams_max: Per connection.
        connection_ns_max: Every connection is ended when it is that old.
        weight_per_minute: Most weight a minute of REST requests per address.
    """

    depth_every_ns: dict[str, int] = field(default_factory=lambda: dict(_SPEEDS))
    mark_every_ns: int = NS_PER_S
    forced_every_ns: int = NS_PER_S
    messages_per_second: int = 10
    streams_max: int = 1024
    connection_ns_max: int = 24 * 3600 * NS_PER_S
    weight_per_minute: int = 2400


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotOptions(BinanceOptions):
    """The same with the defaults of spot."""

    depth_every_ns: dict[str, int] = field(default_factory=lambda: dict(_SPOT_SPEEDS))
    messages_per_second: int = 5
    weight_per_minute: int = 6000


class BinanceSession(BaseSession):
    """
    One connection.

    Attributes:
        route: `public` or `market`, of USD-M; a path without one is public.
        is_combined: Whether payloads are wrapped with the name of their stream.
        streams: Names asked for, existing or not, in their order.
    """

    def __init__(self, venue: SyntheticBinance, number: int, remote: str, path: str, now_ns: int) -> None:
        super().__init__(number, remote, now_ns)
        self._venue = venue
        self.route = MARKET if path.startswith(f"/{MARKET}/") else PUBLIC
        self.is_combined = path.endswith("/stream")
        self.streams: dict[str, Stream | None] = {}
        self.said = Window(NS_PER_S)

    def receive(self, text: str, now_ns: int) -> None:
        """Take in one text frame; the answer is in the outbox when this returns."""
        self._venue.receive(self, text, now_ns)


class SyntheticBinance(BaseVenue[BinanceSession]):
    """
    What the three markets share. `advance` must be called at `next_due_ns` and may be called whenever.

    Args:
        market: Not yet advanced, if it has accounts.
        options: Cadences and limits.
        accounts: Times of liquidations and transfers of the known accounts; they are not reported, but they trade.
    """

    product: ClassVar[Product]
    options_type: ClassVar[type[BinanceOptions]] = BinanceOptions
    #: Names the generator of its ids.
    seed_name: ClassVar[str]
    ws_paths: ClassVar[tuple[str, ...]] = ("/stream", "/ws")
    ws_base: ClassVar[str] = ""
    rest_base: ClassVar[str] = ""
    pings: ClassVar[Pings | None] = Pings(180.0, 600.0, Drop(1008, "Pong timeout"))

    def __init__(
        self, market: Market, options: BinanceOptions | None = None, accounts: AccountsOptions | None = None
    ) -> None:
        super().__init__(market, accounts)
        self.options = options or self.options_type()
        self.listed: dict[str, Listed] = listing(market.listed.values(), self.product)
        random = seeded(f"{market.options.seed}/{self.seed_name}")
        self._engine_id = 5_000_000_000_000 + random.randrange(10**12)
        speeds = dict(self.options.depth_every_ns)
        self.depths = {
            symbol: Depth(each, market.books[each.instrument.symbol], speeds, self._engine_id)
            for symbol, each in self.listed.items()
        }
        self.tapes = {symbol: Tape(each, random.randrange(10**9, 6 * 10**9)) for symbol, each in self.listed.items()}
        self._rest = BinanceRest(self, self.options.weight_per_minute)
        self._listeners: dict[str, list[BinanceSession]] = {}
        self._streams: dict[str, Stream] = {}
        self._forced: dict[str, dict[str, Any]] = {}
        self._partial_ids: dict[str, int] = {}

    # Connections ---------------------------------------------------------------------------------------------------

    def open(self, remote: str, path: str, query: str, now_ns: int) -> BinanceSession | None:
        """A new connection; streams may be named in its URL."""
        session = BinanceSession(self, self._connections, remote, path, now_ns)
        self._connections += 1
        self.sessions.append(session)
        for names in parse_qs(query).get("streams", []):
            self._subscribe(session, names.split("/"))
        return session

    def disconnect(self, session: BinanceSession) -> None:
        """The connection is gone, whichever side ended it."""
        if session in self.sessions:
            self.sessions.remove(session)
        self._unsubscribe(session, list(session.streams))

    def drops(self, now_ns: int) -> list[tuple[BinanceSession, Drop]]:
        for session in self.sessions:
            if session.drop is None and now_ns - session.opened_ns >= self.options.connection_ns_max:
                session.drop = _DAY_OVER
        return super().drops(now_ns)

    def next_due_ns(self) -> int:
        """When `advance` and `drops` will next have something to do."""
        due = self.market.block_time_ns(self.market.number + 1)
        return min([due, *(session.opened_ns + self.options.connection_ns_max for session in self.sessions)])

    # What clients say ----------------------------------------------------------------------------------------------

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        """Answer a REST request."""
        return self._rest.answer(ask, now_ns)

    def receive(self, session: BinanceSession, text: str, now_ns: int) -> None:
        """Answer one frame of a client."""
        if session.drop is not None:
            return
        if session.said.add(now_ns) > self.options.messages_per_second:
            session.drop = _TOO_FAST
            return
        try:
            request = parse_request(text)
            result = self._do(session, request)
        except Refused as refusal:
            error = {"code": refusal.code, "msg": refusal.text}
            session.send(as_json(error if refusal.id is None else error | {"id": refusal.id}).decode())
            return
        session.send(as_json({"result": result, "id": request.id}).decode())

    def _do(self, session: BinanceSession, request: Request) -> Any:
        params = request.params
        match request.method:
            case "SUBSCRIBE":
                if len(session.streams.keys() | set(params)) > self.options.streams_max:
                    raise Refused(2, "Invalid request: too many streams", request.id)
                self._subscribe(session, params)
                return None
            case "UNSUBSCRIBE":
                self._unsubscribe(session, params)
                return None
            case "LIST_SUBSCRIPTIONS":
                return list(session.streams)
            case _:
                return self._property(session, request)

    @staticmethod
    def _property(session: BinanceSession, request: Request) -> Any:
        params = request.params
        if not params or params[0] != "combined":
            raise Refused(0, "Unknown property", request.id)
        if request.method == "GET_PROPERTY":
            return session.is_combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise Refused(1, "Invalid value type: expected Boolean", request.id)
        session.is_combined = params[1]
        return None

    def _subscribe(self, session: BinanceSession, names: Iterable[str]) -> None:
        for name in names:
            if name in session.streams:
                continue
            stream = parse_stream(name, self.options.depth_every_ns, self.product)
            session.streams[name] = stream
            # Neither what does not exist nor what another route carries is refused: it stays silent.
            if (
                stream is None
                or route_of(stream, self.product) != session.route
                or (stream.symbol or None) not in {None, *self.listed}
            ):
                continue
            self._streams[name] = stream
            self._listeners.setdefault(name, []).append(session)

    def _unsubscribe(self, session: BinanceSession, names: Iterable[str]) -> None:
        for name in names:
            session.streams.pop(name, None)
            listeners = self._listeners.get(name, [])
            if session in listeners:
                listeners.remove(session)
                if not listeners:
                    del self._listeners[name], self._streams[name]

    # What the venue says -------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> int:
        """Make every block that is due and put what it causes into the outboxes; returns how many blocks."""
        blocks = 0
        while (time_ns := self.market.block_time_ns(self.market.number + 1)) <= now_ns:
            block = self.market.step()
            self.exchange.take_facts()
            blocks += 1
            self._push(block, time_ns)
        return blocks

    def _push(self, block: Block, time_ns: int) -> None:
        """Everything one block causes: trades, best quotes, which are ahead of the diffs, diffs, prices, liquidations."""
        for symbol, listed in self.listed.items():
            trades = block.trades.get(listed.instrument.symbol)
            if trades:
                self._print(symbol, self.tapes[symbol].add(trades))
        for symbol, depth in self.depths.items():
            self._engine_id, is_new_quote = depth.note(self._engine_id, block.time_ms)
            if is_new_quote and self._listeners:
                ticker = depth.ticker()
                self._emit(f"{symbol.lower()}@bookTicker", "bookTicker", symbol, ticker)
                self._emit("!bookTicker", "bookTicker", symbol, ticker)
        for symbol, depth in self.depths.items():
            for name, data in depth.due(time_ns):
                self._emit(f"{symbol.lower()}@{name}", "depth", symbol, data)
        if self._listeners:
            self._push_partials(time_ns)
            if not self.product.is_spot:
                self._push_marks(time_ns)
        self._push_forced(time_ns)

    def _print(self, symbol: str, printed: Printed) -> None:
        if printed.forced is not None:
            self._forced[symbol] = printed.forced
        for row in printed.trades:
            self._emit(f"{symbol.lower()}@trade", "trade", symbol, row)
        for row in printed.aggregates:
            self._emit(f"{symbol.lower()}@aggTrade", "aggTrade", symbol, row)

    def _push_partials(self, time_ns: int) -> None:
        for name, stream in list(self._streams.items()):
            if not stream.levels:
                continue
            plain_ms = 1000 if self.product.is_spot else 250
            every_ms = int(stream.detail.partition("@")[2].removesuffix("ms") or plain_ms)
            depth = self.depths[stream.symbol]
            if self._strikes(name, every_ms * NS_PER_MS, time_ns) and self._partial_ids.get(name) != depth.update_id:
                data = depth.partial(stream.levels, self._partial_ids.get(name, depth.update_id))
                self._partial_ids[name] = depth.update_id
                self._emit(name, "depth", stream.symbol, data)

    def _push_marks(self, time_ns: int) -> None:
        for suffix, factor in (("@1s", 1), ("", 3)):
            if not self._strikes(f"mark{suffix}", self.options.mark_every_ns * factor, time_ns):
                continue
            rows = {
                symbol: FUTURES.mark(each, self.market.perps[each.instrument.symbol], self.market)
                for symbol, each in self.listed.items()
                if not each.instrument.delisted
            }
            for symbol, row in rows.items():
                self._emit(f"{symbol.lower()}@markPrice{suffix}", "markPrice", symbol, row)
            self._emit(f"!markPrice@arr{suffix}", "markPrice", "", list(rows.values()))

    def _push_forced(self, time_ns: int) -> None:
        if not self._strikes("forced", self.options.forced_every_ns, time_ns):
            return
        for symbol, row in self._forced.items():
            self._emit(f"{symbol.lower()}@forceOrder", "forceOrder", symbol, row)
            self._emit("!forceOrder@arr", "forceOrder", symbol, row)
        self._forced.clear()

    def _emit(self, name: str, kind: str, symbol: str, data: object) -> None:
        listeners: Sequence[BinanceSession] = self._listeners.get(name, ())
        if not listeners or self._is_muted(kind, symbol) or self._is_lost(name):
            return
        raw = as_json(data).decode()
        for session in listeners:
            session.send(f'{{"stream":"{name}","data":{raw}}}' if session.is_combined else raw)


class SyntheticBinanceUsdM(SyntheticBinance):
    """USD-M futures: two routes, and a connection is of one."""

    product: ClassVar[Product] = USDM
    seed_name: ClassVar[str] = "binance"
    ws_paths: ClassVar[tuple[str, ...]] = (
        "/public/stream",
        "/public/ws",
        "/market/stream",
        "/market/ws",
        "/stream",
        "/ws",
    )


class SyntheticBinanceCoinM(SyntheticBinance):
    """COIN-M futures: sizes are contracts of a value in USD."""

    product: ClassVar[Product] = COINM
    seed_name: ClassVar[str] = COINM.venue


class SyntheticBinanceSpot(SyntheticBinance):
    """Spot."""

    product: ClassVar[Product] = SPOT
    options_type: ClassVar[type[BinanceOptions]] = SpotOptions
    seed_name: ClassVar[str] = SPOT.venue
    pings: ClassVar[Pings | None] = Pings(20.0, 60.0, Drop(1008, "Pong timeout"))
