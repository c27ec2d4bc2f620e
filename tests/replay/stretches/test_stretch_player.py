"""A session that is played columns decides, hears and writes down what it does message by message."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.columns.column_batch import Names, of_messages
from replay.backtest.gap_policy import GapPolicy
from replay.results.run_record import RunRecord
from replay.strategy.context import Context
from replay.strategy.limits import RiskLimits
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.session import TradingSession
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import BookView, OwnFill, Quote
from replay.stretches.stretch_player import StretchPlayer
from tests.replay.backtest.market_messages import KEY, Messages
from tests.replay.strategy.sessions import loaded
from toolkit.books.tracker import OrderBookTracker
from toolkit.keys import PairKey
from toolkit.messages import BestQuote, EventKind, Message, Side, Trade

OTHER = PairKey("testing", "ETH-USD")


class Dabbler(Strategy):
    """Trades a little, and looks at books as deep as they are."""

    wakes = Wakes(every="1ms")

    def on_start(self, ctx: Context) -> None:
        self.seen = {pair: ctx.book(pair) for pair in ctx.pairs}

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        pair = ctx.rng.choice(ctx.pairs)
        book = self.seen[pair]
        bid, ask = book.best_bid, book.best_ask
        ctx.log("top", bid=bid, ask=ask, at=(book.ts_event, book.ts_recv, book.update_id), held=ctx.position(pair).size)
        if book.is_stale or bid is None or ask is None:
            return
        step = float(ctx.rules(pair).tick)
        match ctx.rng.randrange(8):
            case 0 | 1:
                ctx.keep(pair, "bid", Side.BUY, price=bid.price, size=2.0, post_only=True)
            case 2 | 3:
                ctx.keep(pair, "ask", Side.SELL, price=ask.price, size=2.0, post_only=True)
            case 4:
                ctx.buy(pair, 1.0, bid.price - step)
            case 5:
                ctx.sell(pair, 1.0)
            case 6:
                ctx.cancel_all(pair)
            case _:
                ctx.log("deep", bids=list(book.bids), asks=book.asks[:3], count=len(book.asks), spread=book.spread)

    def on_fill(self, ctx: Context, fill: OwnFill) -> None:
        ctx.log("fill", price=fill.price, best=self.seen[fill.pair].bids.best_price)


class QuoteReader(Dabbler):
    wakes = Wakes(quotes=True, every="2ms")

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        ctx.log("quote", **quote._asdict())


class SlowReader(QuoteReader):
    wakes = Wakes(quotes=True, min_gap="3ms", pairs=(KEY.trading_pair,))


class TapeReader(Dabbler):
    wakes = Wakes(trades=True, books=True)

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        book = ctx.book(trade.trading_pair)
        ctx.log("trade", id=trade.trade_id, price=trade.price, bid=book.bids.best_price, at=book.update_id)
        if ctx.rng.random() < 0.3:
            self.on_timer(ctx, "trade", 0)

    def on_book(self, ctx: Context, book: BookView) -> None:
        if ctx.rng.random() < 0.2:
            ctx.log("book", levels=len(book.bids), best=book.best_ask)


class Sleeper(Dabbler):
    """Is called seldom, so that much happens in one stretch; what fills an order is heard of in between."""

    wakes = Wakes(every="15ms")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        for _ in range(6):
            super().on_timer(ctx, name, due_ns)


STRATEGIES: dict[str, type[Strategy]] = {
    each.__name__: each for each in (Dabbler, QuoteReader, SlowReader, TapeReader, Sleeper)
}
MS = 1_000_000


def make_messages(rng: random.Random, keys: Sequence[PairKey]) -> list[Message]:
    """Books by diffs with all that disturbs them, each message a frame of its own or in that of the one before."""
    says = {key: Messages(key) for key in keys}
    now, frame = 10 * MS, 0
    made: list[Message] = []
    ids = 0
    for key in keys:
        say = says[key]
        made += [say.event(now, EventKind.SESSION_START, stream=""), say.instrument(now), say.snapshot(now)]
    for _ in range(rng.randrange(20, 90)):
        now += rng.choice([0, 0, MS // 3, MS, 4 * MS])
        key = rng.choice(keys)
        say, kind = says[key], rng.random()
        if kind < 0.5:
            ids += 1
            prices = [float(rng.randrange(95, 106)) + (0.5 if rng.random() < 0.01 else 0) for _ in range(3)]
            bids = {price: float(rng.randrange(4)) for price in prices if price < 101}
            asks = {price: float(rng.randrange(4)) for price in prices if price >= 100}
            message: Message = say.diff(now, bids, asks)
            message = msgspec.structs.replace(message, last_update_id=ids if key is KEY else None)
        elif kind < 0.75:
            extras: list[dict[str, Any]] = [{}, {}, {}, {"is_history": True}, {"is_duplicate": True}, {"cause": "adl"}]
            extra = rng.choice(extras)
            message = say.trade(now, rng.choice(["buy", "sell"]), rng.randrange(96, 105), rng.randrange(1, 5), **extra)
            if rng.random() < 0.03:  # off the grid so far
                message = msgspec.structs.replace(message, price=message.price + 0.5)
            before = [each for each in made if isinstance(each, Trade)]
            if before and rng.random() < 0.1:  # as recordings that overlap have it
                message = msgspec.structs.replace(rng.choice(before), ts_recv=now, is_duplicate=False)
        elif kind < 0.88:
            head = say.event(now, EventKind.GAP)
            message = BestQuote(
                head.venue,
                head.symbol,
                head.trading_pair,
                head.ts_event,
                head.ts_recv,
                head.capture_seq,
                head.sub_seq,
                False,
                99.0,
                1.0,
                None,
                101.0,
                1.0,
                None,
            )
        elif kind < 0.91:
            message = say.funding(now, mark_price=100.0 + rng.random())
        elif kind < 0.94:
            message = say.snapshot(now, {99: 3, 97: 2}, {101: 2, 104: 5})
        elif kind < 0.96:
            message = say.instrument(now, tick=rng.choice([1.0, 0.5]))
        elif kind < 0.98:
            message = say.event(now, EventKind.STALE)
        else:
            message = say.event(now, EventKind.GAP)
        if rng.random() < 0.04:
            message = msgspec.structs.replace(message, ts_recv=now - 3 * MS)  # a clock that steps back
        made.append(message)
    numbered: list[Message] = []
    for message in made:
        if not numbered or rng.random() < 0.7 or message.ts_recv != numbered[-1].ts_recv:
            frame, sub = frame + 1, 0
        else:
            sub = numbered[-1].sub_seq + numbered[-1].row_count
        numbered.append(msgspec.structs.replace(message, capture_seq=frame, sub_seq=sub))
    return numbered


def run(
    cls: type[Strategy],
    keys: Sequence[PairKey],
    messages: Sequence[Message],
    cuts: Sequence[int] | None,
    **options: Any,
) -> tuple[TradingSession, RunRecord]:
    """Played by messages, or in columns that are cut at those places."""
    session = RunPlan(loaded(cls), keys, RunSettings(**options)).open(0, compiled=False)
    if cuts is None:
        for message in messages:
            session.take(message)
    else:
        names = Names(keys)
        desk = session.exchange.only_desk
        assert desk is not None
        player = StretchPlayer(session, desk, keys, names)
        for begin, end in zip([0, *cuts], [*cuts, len(messages)], strict=True):
            if begin < end:
                player.play(of_messages(messages[begin:end], names, whole=True))
    return session, session.finish()


def everything(session: TradingSession, record: RunRecord, keys: Sequence[PairKey]) -> dict[str, Any]:
    tracker: OrderBookTracker = session.tracker
    desk = session.exchange.only_desk
    assert desk is not None
    desk.settle()
    return {
        "log": session.log.hexdigest(),
        "failure": str(session.failure),
        "messages": list(record.messages),
        "tops": list(record.tops),
        "equity": record.equity,
        "decisions": list(record.decisions),
        "courses": record.courses,
        "counts": record.counts,
        "count": None if session.failure else session.message_count,
        "crossed": tracker.crossed_count,
        "refused": tracker.refused_count,
        "books": [
            (book.bids.columns(), book.asks.columns(), book.ts_event, book.ts_recv, book.update_id, book.is_stale)
            for book in (tracker.book(key) for key in keys)
        ],
        "levels": [desk.core.levels(place) for place in range(len(keys))],
        "queued": session.exchange.queued,
    }


@given(
    st.integers(0, 2**32),
    st.sampled_from(sorted(STRATEGIES)),
    st.booleans(),
    st.sampled_from(["entry=0ns,response=0ns", "entry=1ms,response=1ms", "entry=300us,response=2ms"]),
    st.sampled_from(["keep", "cancel"]),
    st.booleans(),
)
def test_columns_and_messages_come_to_the_same(
    seed: int, name: str, has_two: bool, latency: str, gaps: str, has_limit: bool
) -> None:
    rng = random.Random(seed)
    keys = [KEY, OTHER] if has_two else [KEY]
    messages = make_messages(rng, keys)
    cuts = sorted(rng.randrange(len(messages) + 1) for _ in range(3))
    options: dict[str, Any] = {"latency": latency, "gap_policy": GapPolicy(gaps), "seed": seed % 1000}
    if has_limit:
        options["limits"] = RiskLimits(loss_max=Decimal("0.5"))
    expected = everything(*run(STRATEGIES[name], keys, messages, None, **options), keys)
    found = everything(*run(STRATEGIES[name], keys, messages, cuts, **options), keys)
    for what, value in expected.items():
        assert found[what] == value, what


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_what_is_plain_is_no_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would compare one way with itself."""
    rng = random.Random(5)
    say = Messages()
    messages: list[Message] = [say.instrument(0), say.snapshot(0), say.diff(0, {99: 3})]
    for n in range(200):
        messages.append(say.diff(n * MS, {float(rng.randrange(95, 100)): float(rng.randrange(5))}))
        messages.append(say.trade(n * MS, "sell", 99, 1))
    taken: list[Message] = []
    take = TradingSession.take

    def note(session: TradingSession, message: Message) -> None:
        taken.append(message)
        take(session, message)

    monkeypatch.setattr(TradingSession, "take", note)
    session, _ = run(STRATEGIES[name], [KEY], messages, [], latency="entry=0ns,response=0ns")
    assert session.message_count == len(messages)
    assert len(taken) == 3


class TopReader(Strategy):
    """Notes what it sees of the book at each trade and between messages."""

    wakes = Wakes(trades=True, every="1ms")

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self.look(ctx)

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        self.look(ctx)

    def look(self, ctx: Context) -> None:
        """Write down the best levels, and have an order at the venue."""
        book = ctx.book(ctx.pairs[0])
        if not ctx.orders():
            ctx.buy(ctx.pairs[0], 1.0, 90.0)
        ctx.log("top", bid=book.best_bid, ask=book.best_ask, tick=ctx.rules(ctx.pairs[0]).tick_at(100.0))


@pytest.mark.parametrize("what", ["instrument of a stale book", "trade", "trade in the frame of a diff", "diff"])
def test_a_grid_that_becomes_finer_leaves_prices_as_they_are(what: str) -> None:
    """Best levels that the core keeps are counted again when their pair is, also where no book has changed."""
    say, now = Messages(KEY), 10 * MS
    finer: Message
    match what:
        case "instrument of a stale book":
            finer = say.instrument(now + 3 * MS, tick=0.5)
        case "diff":
            finer = say.diff(now + 3 * MS, {99.5: 1.0}, {})
        case _:
            finer = say.trade(now + 3 * MS, "buy", 100, 1)
            finer = msgspec.structs.replace(finer, price=100.5)
    made: list[Message] = [
        say.event(now, EventKind.SESSION_START, stream=""),
        say.instrument(now),
        say.snapshot(now),
        *(say.diff(now + each * MS, {98.0: float(each)}, {102.0: float(each)}) for each in (1, 2, 3)),
        *([say.event(now + 3 * MS, EventKind.STALE)] if "stale" in what else []),
        finer,
        *(say.diff(now + each * MS, {97.0: float(each)}, {103.0: float(each)}) for each in (6, 7)),
        say.trade(now + 8 * MS, "sell", 99, 1),
    ]
    frames = list(range(len(made)))
    if "frame" in what:
        frames[6:] = [each - 1 for each in frames[6:]]
    made = [
        msgspec.structs.replace(each, capture_seq=frame, sub_seq=10 * (place == 6), ts_recv=each.ts_recv)
        for place, (frame, each) in enumerate(zip(frames, made, strict=True))
    ]
    options: dict[str, Any] = {"latency": "entry=1ms,response=1ms"}
    expected = everything(*run(TopReader, [KEY], made, None, **options), [KEY])
    assert "OrderBookEntry(price=" in str(expected["decisions"])
    assert everything(*run(TopReader, [KEY], made, [], **options), [KEY]) == expected
