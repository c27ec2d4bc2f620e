"""
The proof that two runs saw the same: a hash chain over messages and book states.

Canonical bytes of a message are its MessagePack map: `message` with the name of its class, then its fields in declared
order, those at their default left out. After a message that changed a book come a `B` and the book's
state: best bid price and size, best ask price and size as little-endian float64 (NaN where there is none), the number
of levels on each side as uint32, and a byte that is 1 if the book is stale. In frames whose `capture_seq` is a
multiple of `FULL_DEPTH_EVERY` every level of both sides follows.

The chain advances once per frame that gave messages: `state = BLAKE2b-128(state + bytes of the frame's messages)`,
starting from 16 zero bytes. So the state after any frame proves everything before it, does not depend on how the
frames were cut into batches, segments or files, and can be continued from its 16 bytes.
"""

from __future__ import annotations

from hashlib import blake2b
from math import nan
from struct import Struct
from typing import Final

import msgspec

from toolkit.books.orderbook import OrderBook
from toolkit.messages import Message

__all__ = ["DIGEST_VERSION", "EMPTY_DIGEST", "DigestChain", "canonical_bytes"]

#: Raised when the canonical bytes of the same messages change; a digest is only compared with one of its own version.
DIGEST_VERSION: Final = 1
EMPTY_DIGEST: Final = bytes(16)
FULL_DEPTH_EVERY: Final = 256

_encode = msgspec.msgpack.Encoder().encode
_pack_top = Struct("<cddddIIB").pack


def canonical_bytes(message: Message) -> bytes:
    """The bytes that stand for a message; the same on every platform and Python version."""
    return _encode(message)


def _book_bytes(book: OrderBook, *, full: bool) -> bytes:
    bid_price, bid_size, bid_count = book.bids.head()
    ask_price, ask_size, ask_count = book.asks.head()
    if bid_price is None:
        bid_price = bid_size = nan
    if ask_price is None:
        ask_price = ask_size = nan
    top = _pack_top(b"B", bid_price, bid_size, ask_price, ask_size, bid_count, ask_count, book.is_stale)
    return top + _encode((book.bids.columns()[:2], book.asks.columns()[:2])) if full else top


class DigestChain:
    """
    Takes messages with the book each has changed, in order, and gives the digest.

    Args:
        state: Where to continue from.
    """

    __slots__ = ("_capture_seq", "_pending", "_state", "message_count")

    def __init__(self, state: bytes = EMPTY_DIGEST) -> None:
        self._state = state
        self._capture_seq = -1
        self._pending: list[bytes] = []
        self.message_count = 0

    def update(self, message: Message, book: OrderBook | None) -> None:
        """Add a message and, if it changed one, the book as it is after it."""
        capture_seq = message.capture_seq
        pending = self._pending
        if capture_seq != self._capture_seq:
            if pending:
                self._state = blake2b(self._state + b"".join(pending), digest_size=16).digest()
                pending.clear()
            self._capture_seq = capture_seq
        self.message_count += 1
        pending.append(_encode(message))
        if book is not None:
            pending.append(_book_bytes(book, full=capture_seq % FULL_DEPTH_EVERY == 0))

    def digest(self) -> bytes:
        """The state after the last frame; call it between frames only."""
        if self._pending:
            self._close_frame()
        return self._state

    def hexdigest(self) -> str:
        """The same, as 32 hexadecimal digits."""
        return self.digest().hex()

    def before_frame(self) -> str:
        """The state before the frame of the last message, in the same form; call it before the frame ends."""
        return self._state.hex()

    def restart(self, state: bytes) -> None:
        """Go on from that state, forgetting the present one."""
        self._pending.clear()
        self._capture_seq = -1
        self._state = state

    def _close_frame(self) -> None:
        self._state = blake2b(self._state + b"".join(self._pending), digest_size=16).digest()
        self._pending.clear()
