"""The three synthetic markets of Binance through the live protocol, without sockets: every book is the market's own."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from replay.serving.face import Ask
from replay.serving.registry import make_synthetic, synthetic_venues
from replay.serving.venues.binance.synthetic.listing import Listed
from replay.serving.venues.binance.synthetic.venue import SyntheticBinance
from replay.synthetic.market import Market, MarketOptions
from toolkit.books.tracker import OrderBookTracker
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.frames import CONTROL, REST_IN, WS_IN, WS_OUT, Frame, control_payload
from toolkit.messages import EventKind, FundingInfo, FundingKind, Message, StreamEvent, Trade
from toolkit.protocol import ProtocolOptions, RestCall, SendText
from toolkit.venue import find_venue

VENUES = [name for name in synthetic_venues() if name.startswith("binance")]


class Line:
    """A protocol that talks to a synthetic venue, both moved by hand."""

    def __init__(self, venue: str, seed: int, channels: tuple[str, ...], **market: Any) -> None:
        self.name = venue
        self.market = Market(MarketOptions(seed=seed, **market))
        served = make_synthetic(venue, self.market)
        assert isinstance(served, SyntheticBinance)
        self.venue = served
        self.now_ns = self.market.options.genesis_ns
        self.pairs = synthetic_venues()[venue].pairs
        self.protocol = find_venue(venue).make_protocol(ProtocolOptions(pairs=self.pairs, channels=channels))
        self.tracker = OrderBookTracker(checked=True)
        self.messages: list[Message] = []
        self._seq = 0
        self._sessions: dict[int, Any] = {}
        #: The last update of each symbol that was sent.
        self.sent_ids: dict[str, int] = {}
        self._do(self.protocol.bootstrap())
        for conn_id, plan in enumerate(self.protocol.connections()):
            session = self.venue.open("127.0.0.1", plan.path, "", self.now_ns)
            assert session is not None
            self._sessions[conn_id] = session
            self._feed(CONTROL, control_payload("connected", role=plan.role), conn_id)
        self._do(self.protocol.requests())

    def _feed(self, kind: str, payload: bytes, conn_id: int = -1, context: dict[str, Any] | None = None) -> None:
        said = None if context is None else json.dumps(context)
        frame = Frame(self._seq, self.now_ns, self.now_ns, self.name, conn_id, 0, kind, payload, said)
        self._seq += 1
        for message in self.protocol.receive(frame):
            self.tracker.apply(message)
            self.messages.append(message)

    def _do(self, requests: list[Any]) -> None:
        for request in requests:
            if isinstance(request, RestCall):
                url = urlsplit(request.path)
                ask = Ask(request.method, url.path, dict(parse_qsl(url.query)), request.body, "", "127.0.0.1")
                reply = self.venue.answer(ask, self.now_ns)
                self._feed(REST_IN, reply.body, context={"tag": request.tag, "status": reply.status})
            elif isinstance(request, SendText):
                self._feed(WS_OUT, request.text, request.conn_id)
                self._sessions[request.conn_id].receive(request.text.decode(), self.now_ns)

    def run(self, seconds: float) -> None:
        """Let that much time pass, in small steps."""
        end = self.now_ns + round(seconds * NS_PER_S)
        while self.now_ns < end:
            self.now_ns = min(self.now_ns + 50 * NS_PER_MS, end)
            self.venue.advance(self.now_ns)
            for conn_id, session in self._sessions.items():
                for text in session.take():
                    data = json.loads(text).get("data", {})
                    if data.get("e") == "depthUpdate":
                        self.sent_ids[data["s"]] = data["u"]
                    self._feed(WS_IN, text.encode(), conn_id)
            self._do([*self.protocol.requests(), *self.protocol.due(self.now_ns)])

    def listed(self, pair: str) -> Listed:
        return self.venue.listed[self.protocol.symbol(pair)]


def sides(line: Line, pair: str) -> tuple[dict[float, float], dict[float, float]]:
    """The market's book in the numbers that the venue prints."""
    listed = line.listed(pair)
    book = line.market.books[listed.instrument.symbol]
    bids, asks = (
        {float(px): float(sz) for px, sz in (listed.level(each.px, each.lots) for each in side.levels())}
        for side in (book.bids, book.asks)
    )
    return bids, asks


@pytest.mark.parametrize("venue", VENUES)
def test_books_of_the_protocol_are_the_market_s_own(venue: str) -> None:
    """At every moment at which all of a symbol's changes were sent; nothing could not be read, and nothing is missing."""
    line = Line(venue, 3, ("full", "bbo", "trades"))
    line.run(30)
    compared: set[str] = set()
    while compared != set(line.pairs):
        line.run(0.05)
        compared |= {pair for pair in line.pairs if is_the_market_s(line, pair)}
    kinds = Counter(message.kind for message in line.messages if isinstance(message, StreamEvent))
    assert not {EventKind.PARSE_ERROR, EventKind.GAP, EventKind.STALE, EventKind.VENUE_ERROR} & kinds.keys()


def is_the_market_s(line: Line, pair: str) -> bool:
    """Compare the book of a pair with the market's; False where changes are still to be sent."""
    symbol = line.listed(pair).symbol
    if line.venue.depths[symbol].update_id != line.sent_ids.get(symbol):
        return False
    book = line.tracker.book(pair)
    assert not book.is_stale
    bids, asks = sides(line, pair)
    assert {level.price: level.size for level in book.bids} == bids
    assert {level.price: level.size for level in book.asks} == asks
    return True


@pytest.mark.parametrize("venue", VENUES)
def test_trades_of_the_protocol_are_the_market_s_own(venue: str) -> None:
    line = Line(venue, 5, ("trades",))
    line.run(1)
    line.messages.clear()
    past = {pair: len(line.market.history[line.listed(pair).instrument.symbol]) for pair in line.pairs}
    line.run(12)
    for pair in line.pairs:
        listed = line.listed(pair)
        theirs = list(line.market.history[listed.instrument.symbol])[past[pair] :]
        ours = [each for each in line.messages if isinstance(each, Trade) and each.trading_pair == pair]
        assert [(each.price, each.size) for each in ours] == [
            (float(listed.px_text(each.px)), float(listed.sz_text(each.px, each.lots))) for each in theirs
        ]
        assert [each.ts_event for each in ours] == [each.time_ms * NS_PER_MS for each in theirs]
        assert not any(each.is_duplicate or each.is_history for each in ours)


@pytest.mark.parametrize("venue", [name for name in VENUES if name != "binance-spot"])
def test_funding_of_the_protocol_is_the_market_s_own(venue: str) -> None:
    """A settled rate is asked for and told, with the rate of the market."""
    line = Line(venue, 2, ("funding",), funding_every_ns=20 * NS_PER_S)
    line.run(45)
    for pair in line.pairs:
        listed = line.listed(pair)
        context = line.market.perps[listed.instrument.symbol]
        told = [each for each in line.messages if isinstance(each, FundingInfo) and each.trading_pair == pair]
        settled = [each for each in told if each.kind is FundingKind.SETTLED]
        rates = {row.time_ms * NS_PER_MS: row.rate / 10**10 for row in context.fundings}
        assert settled
        for each in settled:
            assert each.funding_rate == pytest.approx(rates[each.ts_event or 0], abs=1e-8)
        assert told[-1].mark_price == pytest.approx(float(listed.long_px_text(context.mark)), rel=1e-3)


def test_frames_are_json_without_a_number_that_is_none() -> None:
    """Whatever is sent decodes, and decimals are text."""
    for venue in VENUES:
        line = Line(venue, 1, ())
        line.run(3)
        for session in line.venue.sessions:
            line.venue.advance(line.now_ns + NS_PER_S)
            for text in session.take():
                assert not any(isinstance(each, float) for each in _leaves(msgspec.json.decode(text)))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]
