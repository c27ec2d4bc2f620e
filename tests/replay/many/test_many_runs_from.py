"""A run that begins at an instant, reached by a seek, is one that was there from the beginning and ordered nothing until then."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from recordings.states import seek_points
from replay.fast_classes.strategy_backtest import backtest
from replay.results.result import Result
from replay.seeking import Start, StartFinder
from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from tests.replay.busy_tapes import Tape, sealed
from toolkit.messages import Side, Trade

FINE: dict[str, Any] = {"assumed": {"tick": "0.000001", "lot": "0.00001", "min_notional": "0.000001"}}


class Waits(Strategy):
    """Orders nothing before a time; then orders at every level there is, and beyond, by all that it sees."""

    from_ns: int = 0
    wakes = Wakes(trades=True, every="20ms")

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        if ctx.now_ns >= self.from_ns and trade.price > 0:
            self.act(ctx, trade.trading_pair, int(trade.size * 1e6))

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        if ctx.now_ns >= self.from_ns:
            self.act(ctx, ctx.pairs[due_ns // 20_000_000 % len(ctx.pairs)], due_ns // 20_000_000)

    def act(self, ctx: Context, pair: str, number: int) -> None:
        book, rules = ctx.book(pair), ctx.rules(pair)
        if book.is_stale or book.best_bid is None or book.best_ask is None:
            return
        size = float(rules.round_size(book.best_bid.size / 3) or rules.size_step)
        levels = list(book.bids.levels() if number % 2 else book.asks.levels())
        place = number % (len(levels) + 2)
        beyond = levels[-1].price * (0.9 if number % 2 else 1.1)
        price = levels[place].price if place < len(levels) else beyond
        side = Side.BUY if number % 2 else Side.SELL
        ctx.keep(
            pair, str(number % 5), side, price=rules.round_price(side, price), size=size, post_only=number % 3 == 0
        )


def rows(result: Result, *leaving_out: str) -> list[Any]:
    return [getattr(result, name).drop(leaving_out, strict=False).rows() for name in ("fills", "orders")]


@pytest.fixture(autouse=True)
def close_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state every few frames, however small these are."""
    monkeypatch.setattr(seek_points, "POINT_FRAMES", 11)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 0)
    monkeypatch.setattr("recordings.states.checkpoints.TABLES_PER_BYTE", 0)


@pytest.fixture
def sought(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether runs of a test began from a state."""
    found: list[bool] = []
    original = StartFinder.before

    def before(self: StartFinder, ns: int, **options: Any) -> Start:
        start = original(self, ns, **options)
        found.append(start.state is not None)
        return start

    monkeypatch.setattr(StartFinder, "before", before)
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["diffs", "books"])
def test_a_class_that_begins_at_an_instant_has_the_market_as_it_is_then(
    tmp_path: Path, sought: list[bool], seed: int, kind: str
) -> None:
    which: dict[str, Any] = {"coins": ("BTC", "ETH")} if kind == "books" else {"coins": (), "symbols": ("BTCUSDT",)}
    folder = sealed(tmp_path / "tape", Tape(seed, **which).make(240), 81).path
    info = backtest(Waits, folder, parameters={"from_ns": 2**62}, **FINE).info
    draw = random.Random(seed)
    traded = 0
    for _ in range(3):
        at = draw.randrange(info.start_ns, info.end_ns)
        began = backtest(Waits, folder, start_ns=at, **FINE)
        waited = backtest(Waits, folder, parameters={"from_ns": at}, **FINE)
        assert rows(began) == rows(waited), at
        traded += waited.orders.height
    assert traded or kind == "diffs"
    assert any(sought)
