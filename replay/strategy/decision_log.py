"""
The decision log: a hash chain over every decision with its cause, and over every response.

It begins with the head: rules, parameters, seed, hash of the strategy's source. A row is a callback that acted, or a
response; `state = BLAKE2b-128(state + MessagePack of the row)`, from 16 zero bytes. So the state after any row proves all
before it, and the log of a tape that is cut is a prefix of that of the whole one.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["LOG_VERSION", "DecisionLog", "LogHead", "LogRow"]

#: Raised when the same decisions give other bytes; logs are only compared with those of their own version.
LOG_VERSION: Final = 1
_EMPTY: Final = bytes(16)
_encode = msgspec.msgpack.Encoder(order="sorted").encode


class LogHead(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a log begins with: two runs are equal only where these are.

    Attributes:
        strategy: Name of the class.
        source_hash: BLAKE2b-128 over the strategy's source, in hex.
        parameters: Name to value, as JSON has them.
        seed: Seed of `ctx.rng`.
        pairs: Venue and pair, in the order that rows name them by.
        rules: The rules of matching in force, by name.
        latency: Latency as it was said.
        fees: Fees as they were said, by name.
        capital: Capital at the start, by settlement currency, as decimal text.
        gap_policy: Rule for orders that rest while their book does not hold.
        limits: Limits of risk, by name.
        data: Own data of the strategy: parameter to hash of the file.
        assumed: Ticks and lots that were assumed, by pair and name.
        money: Leverage, margin, fee tier and transfers, as far as they were chosen.
        presets: Facts of venues: their date and a hash of them, by venue.
        log_version: `LOG_VERSION`.
    """

    strategy: str
    source_hash: str
    parameters: dict[str, Any]
    seed: int
    pairs: tuple[tuple[str, str], ...]
    rules: dict[str, Any]
    latency: str
    fees: dict[str, str]
    capital: dict[str, str]
    gap_policy: str
    limits: dict[str, Any]
    data: dict[str, str] = {}
    assumed: dict[str, str] = {}
    money: dict[str, Any] = {}
    presets: dict[str, str] = {}
    log_version: int = LOG_VERSION


class LogRow(NamedTuple):
    """
    One row.

    Attributes:
        time_ns: Logical time.
        kind: The callback without its `on_`: `start`, `quote`, `timer`, ...; or `response`, `failure`, `end`.
        cause: Place in the recording `(capture_seq, sub_seq)` of a message, `(name, due_ns)` of a timer, `(number,)` of a
            response.
        acts: Requests of a callback, each a tuple of a word and its arguments; of a response what it says.
        draws: Random numbers that the callback has drawn.
    """

    time_ns: int
    kind: str
    cause: tuple[Any, ...]
    acts: tuple[Any, ...]
    draws: int = 0


class DecisionLog:
    """
    The chain, row after row.

    Args:
        head: Values that it begins with.
        sink: Handed each row with its number, from 0, and the state after it.

    Attributes:
        count: Rows so far.
    """

    __slots__ = ("_sink", "_state", "_watchers", "count")

    def __init__(self, head: LogHead, sink: Callable[[int, LogRow, bytes], None]) -> None:
        self._sink = sink
        self._watchers: list[Callable[[LogRow], None]] = []
        self._state = blake2b(_EMPTY + _encode(head), digest_size=16).digest()
        self.count = 0

    def add(self, row: LogRow) -> None:
        """Add a row."""
        state = self._state = blake2b(self._state + _encode(row), digest_size=16).digest()
        self._sink(self.count, row, state)
        self.count += 1
        for watcher in self._watchers:
            watcher(row)

    def watch(self, watcher: Callable[[LogRow], None]) -> None:
        """Call `watcher(row)` after each row from now on."""
        self._watchers.append(watcher)

    def hexdigest(self) -> str:
        """The state after the last row, 32 hexadecimal digits."""
        return self._state.hex()
