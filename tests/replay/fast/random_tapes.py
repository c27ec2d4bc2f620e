"""Tapes of one pair by chance: a market with holes of every kind in it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from tests.replay.backtest.market_messages import Messages
from tests.tapes import quote
from toolkit.keys import PairKey
from toolkit.messages import (
    BETWEEN_RECORDINGS,
    FORM_FULL,
    FORM_QUOTE,
    BookDiff,
    BookSnapshot,
    EventKind,
    FundingKind,
    Instrument,
    Message,
    Trade,
)

__all__ = ["KEY", "in_finer_steps", "random_tape", "tape_of_forms"]

KEY = PairKey("binance-usdm", "BTC-USDT")
_MS = 1_000_000
_START = 1_795_000_000_000_000_000


def random_tape(seed: int, length: int = 200) -> list[Message]:
    """
    Books, trades and marks around 1000; and streams that are lost and come again, numbers that are left out, holes between
    recordings, sessions that end and begin, and times in which the wall clock jumps.
    """
    return _Tape(seed).played(length)


def in_finer_steps(tape: Sequence[Message], at: int, tick: float, lot: float) -> list[Message]:
    """A tape of which the venue says, before one of its messages, that prices and sizes have finer steps; and uses them."""
    defined = next(message for message in tape if isinstance(message, Instrument))
    steps = {"price_tick": tick, "size_step": lot}
    out = list(tape[:at])
    out.append(msgspec.structs.replace(defined, ts_recv=tape[at].ts_recv, **steps))
    for message in tape[at:]:
        if isinstance(message, BookSnapshot | BookDiff):
            moved = {
                side: tuple(price + tick for price in getattr(message, side)) for side in ("bid_prices", "ask_prices")
            }
            sizes = {side: tuple(size * lot for size in getattr(message, side)) for side in ("bid_sizes", "ask_sizes")}
            out.append(msgspec.structs.replace(message, **moved, **sizes))
        elif isinstance(message, Trade):
            out.append(msgspec.structs.replace(message, price=message.price + tick, size=message.size * lot))
        elif isinstance(message, Instrument):
            out.append(msgspec.structs.replace(message, **steps))
        else:
            out.append(message)
    return [msgspec.structs.replace(message, capture_seq=number) for number, message in enumerate(out)]


def tape_of_forms(seed: int, keys: Sequence[PairKey], length: int = 150) -> list[Message]:
    """
    Books of several forms, late and lost one by one, funding that is settled, and venues that end their sessions apart.

    Args:
        seed: Chance of it.
        keys: The pairs, of a venue each.
        length: How many messages there are, about.
    """
    chance, now = random.Random(seed), _START
    says = [Messages(key) for key in keys]
    middles, are_over = [1000] * len(keys), [False] * len(keys)
    out: list[Message] = []
    for say in says:
        out += [say.event(now, EventKind.SESSION_START, stream="", cause=""), say.instrument(now, settle="USDC")]
    forms = (FORM_FULL, "fast", FORM_QUOTE, "trades")
    for _ in range(length):
        place, kind = chance.randrange(len(keys)), chance.random()
        say, key = says[place], keys[place]
        now += chance.randint(0, 50) * _MS
        middles[place] += chance.choice((-1, 0, 0, 0, 1))
        middle, event_ns = middles[place], now - chance.randint(0, 40) * _MS
        bids: dict[float, float] = {middle - 1 - level: chance.randint(1, 30) for level in range(20)}
        asks: dict[float, float] = {middle + 1 + level: chance.randint(1, 30) for level in range(20)}
        if are_over[place]:
            if kind < 0.4:
                are_over[place] = False
                out.append(say.event(now, EventKind.SESSION_START, stream="", cause=""))
        elif kind < 0.2:
            out.append(say.snapshot(now, bids, asks, event_ns=event_ns, cap=20))
        elif kind < 0.35:
            few = [dict(list(side.items())[:5]) for side in (bids, asks)]
            out.append(say.snapshot(now, *few, event_ns=event_ns, cap=5, form="fast"))
        elif kind < 0.55:
            best = [(float(price), float(size)) for price, size in (next(iter(bids.items())), next(iter(asks.items())))]
            head: dict[str, Any] = {"venue": key.venue, "symbol": key.trading_pair, "trading_pair": key.trading_pair}
            out.append(quote(*best, **head, ts_event=event_ns, ts_recv=now))
        elif kind < 0.78:
            price = middle + chance.randint(-2, 2)
            out.append(say.trade(now, chance.choice(("buy", "sell")), price, chance.randint(1, 20), event_ns=event_ns))
        elif kind < 0.82:
            what = chance.choice((FundingKind.CURRENT, FundingKind.CURRENT, FundingKind.SETTLED))
            marked = float(middle)
            out.append(say.funding(now, kind=what, mark_price=marked, index_price=marked, funding_rate=1e-4))
        elif kind < 0.9:
            out.append(say.event(now, EventKind.STALE, stream=chance.choice(forms), cause="disconnect"))
        elif kind < 0.98:
            out.append(say.event(now, EventKind.GAP, stream=chance.choice(forms)))
        else:
            are_over[place] = True
            out.append(say.event(now, EventKind.SESSION_END, stream="", cause="stop"))
    return [msgspec.structs.replace(message, capture_seq=number) for number, message in enumerate(out)]


class _Tape:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.say = Messages(KEY)
        self.now = _START
        self.middle = 1000
        self.lost: set[str] = set()
        self.is_over = False
        self.out: list[Message] = []

    def played(self, length: int) -> list[Message]:
        self._begin()
        self.out.append(self.say.instrument(self.now, settle="USDT"))
        self._snapshot()
        for _ in range(length):
            self.now += self.chance.randint(1, 60) * _MS
            self.middle += self.chance.choice((-1, 0, 0, 0, 1))
            if not self.is_over:
                self._go_on(self.chance.random())
            elif self.chance.random() < 0.5:
                self.is_over = False
                self._begin()
                self._snapshot()
        return self.out

    def _go_on(self, kind: float) -> None:
        chance, say, now = self.chance, self.say, self.now
        if kind < 0.55 and "full" not in self.lost:
            self._diff() if kind < 0.45 else self._snapshot()
        elif kind < 0.8:
            price = self.middle + chance.randint(-2, 2)
            self.out.append(say.trade(now, chance.choice(("buy", "sell")), price, chance.randint(1, 20)))
        elif kind < 0.84:
            mark = float(self.middle)
            self.out.append(say.funding(now, kind=FundingKind.CURRENT, mark_price=mark, funding_rate=1e-4))
        elif kind < 0.91:
            self._lose(chance.choice(("full", "trades")))
        elif kind < 0.94 and self.lost:
            self._find(chance.choice(sorted(self.lost)))
        elif kind < 0.96:
            event = say.event(now, EventKind.GAP, stream=chance.choice(("trades", "full")), cause="sequence")
            started = now - chance.randint(1, 100) * _MS
            self.out.append(msgspec.structs.replace(event, ts_start=started, ts_end=now))
        elif kind < 0.97:
            self._pass_hole()
        elif kind < 0.98:
            self.out.append(say.event(now, EventKind.SESSION_END, stream="", cause="stop"))
            self.is_over = True
            if chance.random() < 0.5:
                self._lose("full", "stop")
        elif kind < 0.99:
            self.now += 700 * _MS
            event = say.event(self.now, EventKind.CLOCK_STEP, stream="", cause="clock_step")
            self.out.append(msgspec.structs.replace(event, detail="delta_ns=700000000"))

    def _begin(self) -> None:
        self.out.append(self.say.event(self.now, EventKind.SESSION_START, stream="", cause=""))

    def _levels(self) -> tuple[dict[float, float], dict[float, float]]:
        bids: dict[float, float] = {self.middle - 1 - place: self.chance.randint(1, 30) for place in range(5)}
        asks: dict[float, float] = {self.middle + 1 + place: self.chance.randint(1, 30) for place in range(5)}
        return bids, asks

    def _snapshot(self) -> None:
        self.out.append(self.say.snapshot(self.now, *self._levels()))
        self.lost.discard("full")

    def _diff(self) -> None:
        levels = self.chance.choice(self._levels())
        changed = {price: size * self.chance.choice((0, 1, 1)) for price, size in levels.items()}
        is_bid = min(levels) < self.middle
        self.out.append(self.say.diff(self.now, changed if is_bid else {}, {} if is_bid else changed))

    def _lose(self, stream: str, cause: str | None = None) -> None:
        if stream not in self.lost:
            self.lost.add(stream)
            said = cause or self.chance.choice(("disconnect", "sequence", "stop"))
            event = self.say.event(self.now, EventKind.STALE, stream=stream, cause=said)
            since = self.now - 5 * _MS if said == "sequence" else None
            self.out.append(msgspec.structs.replace(event, ts_start=since))

    def _find(self, stream: str) -> None:
        self.lost.discard(stream)
        self.out.append(self.say.event(self.now, EventKind.GAP, stream=stream))
        if stream == "full":
            self._snapshot()

    def _pass_hole(self) -> None:
        self.out.append(self.say.event(self.now, EventKind.STALE, cause=BETWEEN_RECORDINGS))
        self.now += 500 * _MS
        self.out.append(self.say.event(self.now, EventKind.GAP, stream="", cause=BETWEEN_RECORDINGS))
        self.out.append(self.say.instrument(self.now, settle="USDT"))
        self._snapshot()
