"""`replay`: a recording into a Python callback that reads the best bid and ask after every message."""

from __future__ import annotations

from benchmarks.harness import Figure, Options, measure
from benchmarks.importing import imported
from replay.source import FIDELITIES, Fidelity, ReplayDataSource
from toolkit.books.orderbook import OrderBook
from toolkit.messages import Message

__all__ = ["BestReader", "run"]


class BestReader:
    """The callback: reads the best bid and ask of the message's pair, as a strategy would first of all."""

    def __init__(self, source: ReplayDataSource) -> None:
        self._tracker = source.tracker
        self._books: dict[tuple[str, str], OrderBook] = {}
        self.count = 0
        self.spread_sum = 0.0

    def __call__(self, message: Message) -> None:
        """Take one message."""
        self.count += 1
        key = (message.venue, message.trading_pair)
        book = self._books.get(key)
        if book is None:
            if key not in self._tracker.keys:
                return
            book = self._books[key] = self._tracker.book(key)
        bid, ask = book.best_bid, book.best_ask
        if bid is not None and ask is not None:
            self.spread_sum += ask.price - bid.price


def run(options: Options) -> list[Figure]:
    """Measure replaying, both fidelities, without and with the digest."""
    capture, folder = imported(options)
    figures = []

    def once(fidelity: Fidelity, with_digest: bool) -> BestReader:
        source = ReplayDataSource(folder, fidelity=fidelity, with_digest=with_digest)
        reader = BestReader(source)
        source.set_message_callback(reader)
        source.play()
        return reader

    for fidelity in reversed(FIDELITIES):
        for with_digest in (False, True):
            timing, reader = measure(
                lambda fidelity=fidelity, with_digest=with_digest: once(fidelity, with_digest),  # type: ignore[misc]
                options.repeats,
            )
            name = f"{fidelity}{', with the digest' if with_digest else ''}"
            note = f"{capture.origin}, {reader.count:,} messages of 40 levels, thread {reader.count / timing.thread:,.0f}/s"
            figures.append(
                Figure(bench="replay", name=name, value=reader.count / timing.wall, unit="messages/s", note=note)
            )
    return figures
