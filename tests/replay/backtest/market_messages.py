"""A small market by hand, as messages: one venue, prices in whole units, sizes in whole lots, times in ns."""

from __future__ import annotations

from typing import Any

from replay.backtest.exchange import Exchange
from replay.backtest.gap_policy import GapPolicy
from replay.backtest.market import Market
from replay.backtest.receive_latency import ConstantReceiveLatency, LatencyModel
from replay.backtest.requests import NewOrder, OwnOrder, Response
from replay.backtest.venue_facts import VenueFacts
from replay.market.layout import BUY, SELL, Reason, ReportCode, Role, TifCode
from replay.market.rules import Rules
from toolkit.keys import PairKey
from toolkit.messages import (
    FORM_FULL,
    BookDiff,
    BookSnapshot,
    EventKind,
    FundingInfo,
    Instrument,
    InstrumentKind,
    Message,
    Side,
    StreamEvent,
    Trade,
)

KEY = PairKey("testing", "BTC-USD")
BIDS: dict[float, float] = {99: 10, 98: 20}
ASKS: dict[float, float] = {101: 4, 102: 6, 105: 50}

Told = tuple[Any, ...]
_Head = tuple[str, str, str, int, int, int, int]


class Messages:
    """
    Makes messages of one pair, each a frame of its own.

    Args:
        key: Venue and pair.
        start: Number of the first frame.
    """

    def __init__(self, key: PairKey = KEY, start: int = 1) -> None:
        self._key = key
        self._frame = start - 1
        self._trade = 0

    def _head(self, at_ns: int, event_ns: int | None, *, same_frame: bool) -> _Head:
        if not same_frame:
            self._frame += 1
        return (
            self._key.venue,
            self._key.trading_pair,
            self._key.trading_pair,
            at_ns if event_ns is None else event_ns,
            at_ns,
            self._frame,
            0,
        )

    def instrument(
        self,
        at_ns: int,
        *,
        tick: float = 1.0,
        lot: float = 1.0,
        settle: str = "USD",
        kind: InstrumentKind = InstrumentKind.PERPETUAL,
        **fields: Any,
    ) -> Instrument:
        return Instrument(
            *self._head(at_ns, None, same_frame=False),
            kind,
            "BTC",
            "USD",
            settle,
            price_tick=tick,
            size_step=lot,
            **fields,
        )

    def funding(self, at_ns: int, *, event_ns: int | None = None, **fields: Any) -> FundingInfo:
        return FundingInfo(*self._head(at_ns, event_ns, same_frame=False), **fields)

    def snapshot(
        self,
        at_ns: int,
        bids: dict[float, float] = BIDS,
        asks: dict[float, float] = ASKS,
        *,
        event_ns: int | None = None,
        cap: int | None = None,
        form: str = FORM_FULL,
    ) -> BookSnapshot:
        down = sorted(bids.items(), reverse=True)
        up = sorted(asks.items())
        return BookSnapshot(
            *self._head(at_ns, event_ns, same_frame=False),
            form,
            True,
            cap,
            tuple(float(price) for price, _ in down),
            tuple(float(size) for _, size in down),
            (),
            tuple(float(price) for price, _ in up),
            tuple(float(size) for _, size in up),
            (),
        )

    def diff(
        self,
        at_ns: int,
        bids: dict[float, float] | None = None,
        asks: dict[float, float] | None = None,
        *,
        event_ns: int | None = None,
    ) -> BookDiff:
        bids, asks = bids or {}, asks or {}
        return BookDiff(
            *self._head(at_ns, event_ns, same_frame=False),
            FORM_FULL,
            True,
            None,
            tuple(float(price) for price in bids),
            tuple(float(size) for size in bids.values()),
            (),
            tuple(float(price) for price in asks),
            tuple(float(size) for size in asks.values()),
            (),
        )

    def trade(
        self,
        at_ns: int,
        side: str,
        price: float,
        size: float,
        *,
        event_ns: int | None = None,
        same_frame: bool = False,
        **fields: Any,
    ) -> Trade:
        self._trade += 1
        head = self._head(at_ns, event_ns, same_frame=same_frame)
        return Trade(*head, Side(side), float(price), float(size), str(self._trade), **fields)

    def event(self, at_ns: int, kind: EventKind, *, stream: str = FORM_FULL, cause: str = "disconnect") -> StreamEvent:
        return StreamEvent(*self._head(at_ns, None, same_frame=False), kind, stream, cause)


class Desk:
    """
    An exchange of one pair with a book at 0, driven as a session would drive it.

    Attributes:
        exchange: The exchange.
        say: Makes its messages.
        heard: Every answer so far, in the order of receipt.
    """

    def __init__(
        self,
        *,
        entry: int = 3,
        response: int = 5,
        latency: LatencyModel | None = None,
        rules: Rules | None = None,
        policy: GapPolicy = GapPolicy.KEEP,
        facts: VenueFacts | None = None,
        has_book: bool = True,
        **instrument: Any,
    ) -> None:
        model = latency if latency is not None else ConstantReceiveLatency(entry=entry, response=response)
        self.exchange = Exchange(
            [Market(KEY)],
            rules=rules or Rules(),
            latency=model,
            gap_policy=policy,
            compiled=False,
            facts={} if facts is None else {KEY.venue: facts},
        )
        self.say = Messages()
        self.heard: list[Response] = []
        self.take(self.say.instrument(0, **instrument))
        if has_book:
            self.take(self.say.snapshot(0))

    def take(self, *messages: Message) -> None:
        """Frames of one message each, or the messages of one frame."""
        self.reach(messages[0].ts_recv)
        frame = messages[0].capture_seq
        for message in messages:
            if message.capture_seq != frame:
                self.reach(message.ts_recv)
                frame = message.capture_seq
            self.exchange.take(message)
        self.reach(messages[-1].ts_recv)

    def reach(self, now_ns: int) -> None:
        """Let everything happen up to a time, step by step."""
        while (due := self.exchange.next_due_ns()) <= now_ns:
            self.heard += self.exchange.advance(due)

    def place(
        self, now_ns: int, side: str, tick: int | None, lots: int, tif: TifCode = TifCode.GTC, **fields: Any
    ) -> OwnOrder:
        """Send an order, at market where `tick` is None."""
        self.reach(now_ns)
        order = NewOrder(
            pair=0,
            side=BUY if side == "buy" else SELL,
            tick=tick or 0,
            lots=lots,
            tif=tif,
            is_market=tick is None,
            **fields,
        )
        return self.exchange.submit(now_ns, order)

    def fills(self) -> list[Told]:
        """`(when at the venue, order, role, tick, lots)` of each."""
        return [
            (each.venue_ns, each.order_id, Role(each.role).name.lower(), each.tick, each.lots)
            for each in self.exchange.fills
        ]

    def told(self) -> list[Told]:
        """`(received, order, what, reason)` of each answer."""
        return [
            (
                each.received_ns,
                each.order_id,
                each.state.name.lower() if each.code is not ReportCode.REFUSED else "refused",
                Reason(each.reason).name.lower(),
            )
            for each in self.heard
        ]
