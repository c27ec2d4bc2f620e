"""What the venue would say at the tape's present: books, last quotes and prices, newest trades, settled funding."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE
from replay.serving.venues.binance.recorded.books import Snapshot, TapeBook, decode_diff, decode_snapshot
from replay.serving.venues.binance.recorded.streams import data_of, named

__all__ = ["SymbolState", "TapeState", "decoded"]

#: Trades that REST can look back on.
TRADES_KEPT: Final = 1000
_SETTLED_KEPT: Final = 1000
#: Longest time between the last mark price and the settlement that it stands for.
_SETTLED_MS: Final = 60_000
_PARTIALS: Final = ("depth5", "depth10", "depth20")

_decode = msgspec.json.decode

Row = dict[str, Any]


def decoded(data: bytes | None) -> Any:
    """JSON; None for what is none."""
    if data is None:
        return None
    try:
        return _decode(data)
    except UNREADABLE:
        return None


class SymbolState:
    """
    One symbol.

    Attributes:
        book: Book from diffs and the snapshots that they fit.
        quote: The last best quote, as data; likewise `mark`.
        partials: The last partial book of each depth.
        trades: The newest, as data, oldest first; likewise `aggregates`.
        settled: Funding that was charged while the tape ran: time, rate and mark price said last before.
    """

    def __init__(self, *, is_spot: bool) -> None:
        self.book = TapeBook(is_spot=is_spot)
        self.speed = ""
        self.quote: bytes | None = None
        self.mark: bytes | None = None
        self.partials: dict[str, bytes] = {}
        self.trades: deque[bytes] = deque(maxlen=TRADES_KEPT)
        self.aggregates: deque[bytes] = deque(maxlen=TRADES_KEPT)
        self.settled: deque[Row] = deque(maxlen=_SETTLED_KEPT)
        self._price: Row = {}

    def take_mark(self, payload: bytes) -> None:
        """A mark price: when the next time to charge funding moves on, it was charged at the one before."""
        self.mark = data_of(payload)
        row = decoded(self.mark)
        if not isinstance(row, dict):
            return
        last = self._price
        charged, due, said = last.get("T"), row.get("T"), last.get("E")
        if not (isinstance(charged, int) and isinstance(due, int) and isinstance(said, int)):
            pass
        # A price from long before is not the one that it was charged at.
        elif last.get("r") and 0 < charged < due and charged - said <= _SETTLED_MS:
            price = last.get("p", "")
            self.settled.append(
                {"symbol": row.get("s"), "fundingTime": charged, "fundingRate": last["r"], "markPrice": price}
            )
        self._price = row


class TapeState:
    """
    Args:
        is_spot: Spot, or else futures.
    """

    def __init__(self, *, is_spot: bool) -> None:
        self._is_spot = is_spot
        self.symbols: dict[str, SymbolState] = {}
        #: Prices of the whole market in one frame.
        self.marks: bytes | None = None
        self._takers: dict[str, Callable[[SymbolState, bytes], None]] = {
            "bookTicker": lambda state, payload: setattr(state, "quote", payload),
            "trade": lambda state, payload: state.trades.append(payload),
            "aggTrade": lambda state, payload: state.aggregates.append(payload),
            "markPrice": SymbolState.take_mark,
        }

    def __getstate__(self) -> dict[str, Any]:
        """What the tape has said; the table of functions is no part of it."""
        return {name: value for name, value in vars(self).items() if name != "_takers"}

    def clear(self) -> None:
        """Return to before the first frame."""
        self.symbols.clear()
        self.marks = None

    def of(self, symbol: str) -> SymbolState:
        """The state of a symbol."""
        found = self.symbols.get(symbol)
        if found is None:
            found = self.symbols[symbol] = SymbolState(is_spot=self._is_spot)
        return found

    def taker(self, name: str) -> Callable[[bytes], None] | None:
        """What takes in the frames of a stream; None where nothing is kept of them."""
        if name.startswith("!markPrice@arr"):
            return self._take_marks
        symbol, kind = named(name)
        if not symbol:
            return None
        if kind == "depth":
            return lambda payload: self._take_diff(symbol, name, payload)
        if kind == "depthSnapshot":
            return lambda payload: self._take_snapshot(symbol, payload)
        if kind in _PARTIALS:
            return lambda payload: self.of(symbol).partials.__setitem__(kind, payload)
        take = self._takers.get(kind)
        return None if take is None else lambda payload: take(self.of(symbol), payload)

    def _take_marks(self, payload: bytes) -> None:
        self.marks = payload

    def _take_snapshot(self, symbol: str, payload: bytes) -> None:
        base = decode_snapshot(data_of(payload))
        if base is not None:
            self.snapshot(symbol, base)

    def _take_diff(self, symbol: str, name: str, payload: bytes) -> None:
        state = self.of(symbol)
        if not state.speed:
            state.speed = name
        if state.speed != name:
            return  # the ids of one speed's chain say nothing about the other's
        diff = decode_diff(data_of(payload))
        if diff is None:
            return
        try:
            state.book.take(diff)
        except ValueError:
            state.book.lose()

    def snapshot(self, symbol: str, base: Snapshot) -> None:
        """A snapshot of the tape."""
        book = self.of(symbol).book
        try:
            book.join(base)
        except ValueError:
            book.lose()

    def lose(self, names: Iterable[str]) -> None:
        """What these streams said last may hold no longer; trades that were, were."""
        for name in names:
            symbol, kind = named(name)
            state = self.symbols.get(symbol)
            if state is None:
                continue
            if kind == "depth":
                state.book.lose()
                state.speed = ""
            elif kind in _PARTIALS:
                state.partials.pop(kind, None)
            elif kind == "bookTicker":
                state.quote = None
            elif kind == "markPrice":
                state.mark = None
