"""
Normalized messages as market events for the core: levels, trades and what of the book is in sight.

A snapshot becomes its difference to the book before. Where a form is capped (the venue sends the best so many levels,
again and again), what is worse than its last level is out of sight, not gone. Where it is not, the snapshot joins the
book anew after a gap, and its levels say nothing of what was cancelled meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from recordings.recording import Recording
from replay.backtest.scales import PairScale
from replay.market.layout import BUY, EVENT, SELL, EventCode
from replay.merging import Tape
from toolkit.messages import FORM_FULL, BookDiff, BookSnapshot, Message, Side, Trade

__all__ = ["MarketFeed", "market_events"]

#: A cause that the venue names and that is not this one says that the trade was not matched in the book.
_MATCHED: Final = frozenset({None, "liquidation"})
_UNCOUNTED: Final = -1


def market_events(recordings: Sequence[Recording], scales: Mapping[str, PairScale]) -> npt.NDArray[np.void]:
    """
    The markets of recordings as events, in the order of the recording.

    Args:
        recordings: Played as one, in the order of receipt.
        scales: The pairs to take, with tick and lot; events name a pair by its place here.

    Returns:
        Of `replay.market.layout.EVENT`.

    Raises:
        ConfigError: A price or size is no whole number of ticks or lots.
        SymbolError: A pair is not in the recordings.
    """
    tape = Tape(recordings, trading_pairs=list(scales), channels=("book", "trades"))
    feed = MarketFeed(scales)
    for batch in tape.batches(lambda pair, venue: ()):
        feed.take_all(batch.messages)
    return feed.events()


class MarketFeed:
    """
    Turns messages into events, as they come.

    Args:
        scales: Pair to its tick and lot; messages of other pairs are passed over.
        form: Which form of the book is the market; the others are passed over.
    """

    def __init__(self, scales: Mapping[str, PairScale], *, form: str = FORM_FULL) -> None:
        self._books = {name: _Book(place, scale) for place, (name, scale) in enumerate(scales.items())}
        self._form = form
        self._parts: list[npt.NDArray[np.void]] = []

    def take_all(self, messages: Iterable[Message]) -> None:
        """Take messages in, in order. Raises ConfigError for a price or size off the grid."""
        for message in messages:
            book = self._books.get(message.trading_pair)
            if book is None:
                continue
            if isinstance(message, Trade):
                if not message.is_history and not message.is_duplicate and message.cause in _MATCHED:
                    self._parts.append(book.trade(message))
            elif isinstance(message, BookDiff) and message.form == self._form:
                self._parts.append(book.diff(message))
            elif isinstance(message, BookSnapshot) and message.form == self._form:
                self._parts.append(book.snapshot(message))

    def events(self) -> npt.NDArray[np.void]:
        """All events so far."""
        self._parts = [np.concatenate(self._parts) if self._parts else np.zeros(0, EVENT)]
        return self._parts[0]


class _Book:
    """One pair: what is known of its levels, in ticks and lots."""

    def __init__(self, place: int, scale: PairScale) -> None:
        self._place = place
        self._scale = scale
        self._levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        #: The venue's time of the message before, for messages without one.
        self._time: int | None = None

    def _rows(self, message: Message, count: int) -> npt.NDArray[np.void]:
        if message.ts_event is not None:
            self._time = message.ts_event
        elif self._time is None:
            self._time = message.ts_recv
        rows = np.zeros(count, EVENT)
        rows["time"] = self._time
        rows["recv"] = message.ts_recv
        rows["frame"] = message.capture_seq
        rows["pair"] = self._place
        rows["count"] = _UNCOUNTED
        return rows

    def trade(self, message: Trade) -> npt.NDArray[np.void]:
        rows = self._rows(message, 1)
        rows["code"] = EventCode.TRADE
        rows["side"] = BUY if message.aggressor_side is Side.BUY else SELL
        rows["tick"] = self._scale.ticks([message.price])
        rows["lots"] = self._scale.lots([message.size])
        return rows

    def diff(self, message: BookDiff) -> npt.NDArray[np.void]:
        """Bids before asks, each in the order they were sent in."""
        bids = len(message.bid_prices)
        rows = self._rows(message, bids + len(message.ask_prices))
        rows["code"] = EventCode.LEVEL
        rows["side"][bids:] = SELL
        rows["tick"] = self._scale.ticks(message.bid_prices + message.ask_prices)
        rows["lots"] = self._scale.lots(message.bid_sizes + message.ask_sizes)
        counts = (message.bid_counts or (_UNCOUNTED,) * bids) + (
            message.ask_counts or (_UNCOUNTED,) * len(message.ask_prices)
        )
        rows["count"] = counts
        ticks, lots = rows["tick"].tolist(), rows["lots"].tolist()
        self._levels[BUY].update(zip(ticks[:bids], lots[:bids], strict=True))
        self._levels[SELL].update(zip(ticks[bids:], lots[bids:], strict=True))
        return rows

    def snapshot(self, message: BookSnapshot) -> npt.NDArray[np.void]:
        """First what is gone, on both sides, so that the new levels cross no old ones."""
        gone: list[tuple[int, int, int, int, int]] = []
        fresh: list[tuple[int, int, int, int, int]] = []
        sights: list[tuple[int, int, int, int, int]] = []
        code = EventCode.SYNC_LEVEL if message.depth_cap is None else EventCode.LEVEL
        sides = (
            (BUY, message.bid_prices, message.bid_sizes, message.bid_counts),
            (SELL, message.ask_prices, message.ask_sizes, message.ask_counts),
        )
        for side, prices, sizes, counts in sides:
            sign = 1 if side == BUY else -1
            ticks, lots = self._scale.ticks(prices).tolist(), self._scale.lots(sizes).tolist()
            before, now = self._levels[side], dict(zip(ticks, lots, strict=True))
            is_cut = message.depth_cap is not None and len(ticks) >= message.depth_cap
            worst = sign * ticks[-1] if is_cut else None
            for tick, size in before.items():
                if size and tick not in now and (worst is None or sign * tick > worst):
                    gone.append((code, side, tick, 0, 0))
            for tick, size, count in zip(ticks, lots, counts or (_UNCOUNTED,) * len(ticks), strict=True):
                if before.get(tick, 0) != size or counts:
                    fresh.append((code, side, tick, size, count))
            if message.depth_cap is not None:
                sights.append((EventCode.HORIZON, side, ticks[-1] if is_cut else 0, int(is_cut), _UNCOUNTED))
            before.clear()
            before.update(now)
        values = [*gone, *fresh, *sights]
        rows = self._rows(message, len(values))
        if values:
            for name, column in zip(("code", "side", "tick", "lots", "count"), zip(*values, strict=True), strict=True):
                rows[name] = column
        return rows
