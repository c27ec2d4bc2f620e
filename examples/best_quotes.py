"""
Best bid and ask of every pair of every venue, at most once a second of the recording.

Example:  python -m examples.best_quotes tapes/monday
"""

from __future__ import annotations

import sys
from pathlib import Path

import tickdeck as td


def main(folder: Path) -> int:
    """Replay, look at the books, and print; returns the number of lines."""
    source = td.replay(folder)
    next_ns: dict[td.PairKey, int] = {}
    every_ns = td.duration_ns("1s")
    lines = 0

    def on_message(message: td.Message) -> None:
        nonlocal lines
        if not isinstance(message, td.BookSnapshot | td.BookDiff | td.BestQuote):
            return
        # A pair may be one of several venues: the key of a message says which book is meant, a name would not.
        key = message.key
        if message.ts_recv < next_ns.get(key, 0):
            return
        book = source.tracker.book(key)
        bid, ask = book.best_bid, book.best_ask
        # A stale book is not an answer: wait until it is good again.
        if book.is_stale or bid is None or ask is None:
            return
        next_ns[key] = message.ts_recv + every_ns
        lines += 1
        # A name is the venue's: `printable` leaves nothing in it that a terminal obeys.
        print(
            f"{td.format_ns(message.ts_recv)}  {key.venue:<13} {td.printable(key.trading_pair):<12} "
            f"{bid.price:>12g} x {bid.size:<10g} {ask.price:>12g} x {ask.size:g}"
        )

    source.set_message_callback(on_message)
    source.play()
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.best_quotes RECORDING")
    try:
        main(Path(sys.argv[1]))
    except td.TickdeckError as exc:
        sys.exit(f"Error: {exc}")
