"""Small tapes whose every frame can be told from its trade, for tests of clocks, controls and merging."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recordings.recording import Recording
from tests.made_once import made_once
from tests.tapes import TS, book_frame, collector_line, import_files, trade
from toolkit.messages import Message, StreamEvent, Trade

MS = 1_000_000
#: Frames received before the first trade: two trade frames, whose first of a coin would count as history.
COINS = ("BTC", "ETH")


def lines(offsets: Iterable[int], *, first_id: int = 1, coins: tuple[str, ...] = COINS) -> bytes:
    """A book and then a frame of two trades per offset (ns after TS), by turns of the coins; ids tell them apart."""
    content = []
    for number, offset in enumerate(offsets):
        coin, ms = coins[number % len(coins)], TS // MS + number
        price = 100.0 + number % 7
        book = book_frame(
            coin, ms, [(price - level, 1.0 + level) for level in range(1, 6)], [(price + 1, 2.0), (price + 2, 1.0)]
        )
        content.append(collector_line(TS + offset, book))
        ids = (first_id + 2 * number, first_id + 2 * number + 1)
        content.append(
            collector_line(TS + offset, {"channel": "trades", "data": [trade(coin, tid, ms, price) for tid in ids]})
        )
    return b"".join(content)


def make(
    folder: Path, offsets: Iterable[int], *, first_id: int = 1, coins: tuple[str, ...] = COINS, **options: Any
) -> Recording:
    """A recording of `lines`."""
    content = lines(offsets, first_id=first_id, coins=coins)
    made_once(folder, lambda path: import_files(path, content, **options), "lines", content, repr(options))
    return Recording.open(folder)


def told(message: Message) -> str:
    """A message in short: what it is, and which."""
    if isinstance(message, Trade):
        return message.trade_id
    if isinstance(message, StreamEvent):
        return f"{message.kind}:{message.trading_pair}:{message.stream}"
    return f"book:{message.ts_recv - TS}"
