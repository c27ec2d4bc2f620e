"""
A digest over the state of a run at an instant: what all that follows is made of.

It covers what counts and not where it lies: free rows, room for more and places of orders in tables make no difference.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import numpy as np

from replay.fast.book_layout import Books
from replay.fast.engine_layout import Engine
from replay.ledger.ledger import Ledger
from replay.market.layout import State
from replay.strategy.session import TradingSession
from toolkit.books.orderbook import OrderBook
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import Store, side_columns, slot_of

__all__ = ["digest_of_engine", "digest_of_money", "digest_of_session"]

_side_columns: Final = plain(side_columns)
_slot_of: Final = plain(slot_of)
#: Of the clock what is of a row under way, or of where things lie.
_PASSING: Final = frozenset(
    [
        "frame",
        "stage",
        "why",
        "event_at",
        "event_count",
        "free",
        "posts",
        "post_at",
        "answers",
        "answer_at",
        "log",
        "acts",
        "until",
        "pair",
        "logs_tops",
        "called_why",
        "is_touched",
        "needs",
    ]
)


class _Digest:
    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def add(self, name: str, value: Any) -> None:
        """Add numbers, or anything whose `repr` says all of it."""
        content = np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        self._hash.update(f"{name} {len(content)} ".encode() + content)

    def rows(self, name: str, rows: Any, leaving_out: frozenset[str] = frozenset()) -> None:
        """Add rows of records, field by field."""
        for field in rows.dtype.names:
            if field not in leaving_out:
                self.add(f"{name}.{field}", rows[field])

    def hex(self) -> str:
        return self._hash.hexdigest()


def digest_of_engine(engine: Engine, money: str) -> str:
    """
    Of a compiled run between two frames.

    Args:
        engine: The arrays: books, orders that rest with their places in queues, requests and answers under way, timers,
            numbers of the function.
        money: `digest_of_money` of its session.
    """
    digest = _Digest()
    hands = engine.hands
    clock = hands.clock[0]
    digest.rows("clock", hands.clock, _PASSING)
    digest.add("money", money)
    _add_books(digest, hands.books)
    _add_core(digest, engine.core)
    slots = sorted(
        np.flatnonzero(hands.orders["number"] > 0).tolist(), key=lambda slot: int(hands.orders["number"][slot])
    )
    digest.rows("orders", hands.orders[slots])
    digest.add("listed", hands.orders["number"][hands.listed[: int(clock["open"])]])
    for slot in slots:
        digest.add("pending", hands.pending[slot, : 2 * int(hands.orders["pending"][slot])])
    place = frozenset({"slot"})
    digest.rows("posts", hands.posts[int(clock["post_at"]) : int(clock["posts"])], place)
    digest.rows("answers", engine.answers[int(clock["answer_at"]) : int(clock["answers"])], place)
    for name in ("quotes", "me", "market", "feeds", "limits"):
        digest.rows(name, getattr(engine, name))
    digest.rows("rules", hands.rules)
    digest.add("state", engine.state)
    return digest.hex()


def _add_books(digest: _Digest, books: Books) -> None:
    digest.rows("pairs", books.pairs)
    digest.add("form_times", books.form_times)
    digest.add("seen", books.seen)
    for side in range(2 * len(books.pairs)):
        keys = _add_side(digest, books.store, side)
        counts = [int(books.counts[_slot_of(books.store, side, key), key & 63]) for key in keys]
        digest.add("counts", counts)
    for pair, row in enumerate(books.pairs):
        digest.rows("recent", books.recent[pair, : int(row["recent"])])
        for pool in (books.pool_steps, books.pool_sizes, books.pool_counts):
            digest.add("pool", pool[pair, : int(row["pool"])])


def _add_core(digest: _Digest, core: State) -> None:
    digest.rows("core pairs", core.pairs)
    digest.rows("core lines", core.lines, frozenset({"head", "mask"}))
    for line in range(len(core.lines)):
        keys = _add_side(digest, core.book, line)
        slots = [_slot_of(core.book, line, key) for key in keys]
        taken = [int(core.taken[slot, key & 63]) for slot, key in zip(slots, keys, strict=True)]
        digest.add("taken", [(int(key), lots) for key, lots in zip(keys, taken, strict=True) if lots])
        digest.add("known", [int(core.counts[slot, key & 63]) for slot, key in zip(slots, keys, strict=True)])
        slot = int(core.lines["head"][line])
        while slot >= 0:
            digest.rows("resting", core.orders[slot : slot + 1], frozenset({"next", "previous"}))
            slot = int(core.orders["next"][slot])


def _add_side(digest: _Digest, store: Store, side: int) -> Any:
    count = int(store.levels[side])
    keys, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
    _side_columns(store, side, keys, sizes)
    digest.add("keys", keys)
    digest.add("sizes", sizes)
    return keys


def digest_of_money(session: TradingSession) -> str:
    """Of what the owner of a run has, as far as it knows, and of what the venue keeps of it."""
    digest = _Digest()
    _add_ledger(digest, session._recorder.ledger)
    if session.house is not None:
        _add_ledger(digest, session.house.ledger)
    return digest.hex()


def _add_ledger(digest: _Digest, ledger: Ledger) -> None:
    digest.add("executions", ledger.executions)
    digest.add("positions", ledger.positions)
    digest.add("accounts", sorted(ledger.accounts.items()))


def digest_of_session(session: TradingSession) -> str:
    """
    Of a run of a class between two frames: time, books, money, random numbers, timers, and all that it has decided and
    received so far, of which its orders and their places in queues are made.
    """
    digest = _Digest()
    digest.add("now", session.now_ns)
    digest.add("phase", session.phase.value)
    digest.add("decisions", (session.log.count, session.log.hexdigest()))
    digest.add("money", digest_of_money(session))
    digest.add("random", session._rng.getstate())
    timers = session._timers._named
    digest.add("timers", [(name, each.when_ns, each.interval_ns) for name, each in timers.items()])
    digest.add("due", session.exchange.next_due_ns())
    for key in session.tracker.keys:
        _add_book(digest, session.tracker.book(key))
    for desk in session.exchange._desks.values():
        desk.settle()
        _add_core(digest, desk.core.state)
    for order in session.exchange._own.values():
        digest.add("order", (order.order_id, order.state, order.tick, order.size, order.left, order.filled))
        digest.add("pending", list(order.pending.items()))
    return digest.hex()


def _add_book(digest: _Digest, book: OrderBook) -> None:
    digest.add("book", (book.venue, book.trading_pair, book.is_stale, book.bids.columns(), book.asks.columns()))
