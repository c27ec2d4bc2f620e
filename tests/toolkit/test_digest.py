"""The digest: what it covers, and what it does not depend on."""

from __future__ import annotations

from hashlib import blake2b
from math import nan
from struct import pack

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tapes import diff, quote, snapshot
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.digest import EMPTY_DIGEST, FULL_DEPTH_EVERY, DigestChain, canonical_bytes
from toolkit.messages import BookSnapshot, Message, Trade

MESSAGES: list[Message] = [
    snapshot([(10.0 - n, 1.0) for n in range(3)], [(11.0, 2.0)], ts_event=5, capture_seq=FULL_DEPTH_EVERY),
    quote((10.0, 4.0), None, capture_seq=FULL_DEPTH_EVERY, sub_seq=4),
    diff([(8.0, 0.0)], [(12.0, 1.0)], capture_seq=FULL_DEPTH_EVERY + 2),
    quote((9.0, 1.0), (11.0, 1.0), capture_seq=FULL_DEPTH_EVERY + 5),
]


def chained(messages: list[Message], chain: DigestChain | None = None, tracker: OrderBookTracker | None = None) -> str:
    chain = chain if chain is not None else DigestChain()
    tracker = tracker if tracker is not None else OrderBookTracker()
    for message in messages:
        chain.update(message, tracker.apply(message))
    return chain.hexdigest()


def test_the_chain_is_what_its_description_says() -> None:
    """Computed here by hand: a map per message, the top of the book, all levels in every 256th frame."""
    encode = msgspec.msgpack.encode
    first = encode(MESSAGES[0]) + b"B" + pack("<ddddIIB", 10.0, 1.0, 11.0, 2.0, 3, 1, 0)
    first += encode((((10.0, 9.0, 8.0), (1.0, 1.0, 1.0)), ((11.0,), (2.0,))))
    first += encode(MESSAGES[1]) + b"B" + pack("<ddddIIB", 10.0, 4.0, nan, nan, 3, 0, 0)
    first += encode((((10.0, 9.0, 8.0), (4.0, 1.0, 1.0)), ((), ())))
    state = blake2b(EMPTY_DIGEST + first, digest_size=16).digest()
    second = encode(MESSAGES[2]) + b"B" + pack("<ddddIIB", 10.0, 4.0, 12.0, 1.0, 2, 1, 0)
    assert chained(MESSAGES[:3]) == blake2b(state + second, digest_size=16).hexdigest()


def test_the_canonical_bytes_of_a_message_stay() -> None:
    """Recordings on disk rest on them: whoever changes them raises DIGEST_VERSION."""
    trade = Trade("v", "A", "A-B", 1, 2, 3, 0, "buy", 1.5, 2.0, "7")  # type: ignore[arg-type]
    expected = {
        "message": "Trade", "venue": "v", "symbol": "A", "trading_pair": "A-B", "ts_event": 1, "ts_recv": 2,
        "capture_seq": 3, "sub_seq": 0, "aggressor_side": "buy", "price": 1.5, "size": 2.0, "trade_id": "7",
    }  # fmt: skip
    assert canonical_bytes(trade) == msgspec.msgpack.encode(expected)
    assert canonical_bytes(snapshot(bid_counts=())).hex().startswith("de0011a76d657373616765ac426f6f6b536e617073686f74")


@given(st.integers(0, len(MESSAGES)))
def test_it_can_be_continued_from_its_bytes_between_any_two_frames(cut: int) -> None:
    if 0 < cut < len(MESSAGES) and MESSAGES[cut].capture_seq == MESSAGES[cut - 1].capture_seq:
        return
    tracker, chain = OrderBookTracker(), DigestChain()
    chained(MESSAGES[:cut], chain, tracker)
    assert chained(MESSAGES[cut:], DigestChain(chain.digest()), tracker) == chained(MESSAGES)
    chain.restart(chain.digest())
    assert chain.message_count == cut


@pytest.mark.parametrize("place", range(len(MESSAGES)))
def test_one_value_of_one_message_changes_it(place: int) -> None:
    changed = list(MESSAGES)
    changed[place] = msgspec.structs.replace(changed[place], ts_recv=1)
    assert chained(changed) != chained(MESSAGES)


def test_the_order_of_messages_changes_it() -> None:
    assert chained([MESSAGES[1], MESSAGES[0], *MESSAGES[2:]]) != chained(MESSAGES)


def test_the_book_is_part_of_it() -> None:
    """The same messages over another book: another digest."""
    good, deeper, stale = OrderBook(), OrderBook(), OrderBook()
    for book in (good, deeper, stale):
        book.apply_snapshot(snapshot([(10.0, 1.0)], [(11.0, 1.0)]))
    deeper.apply_diff([(9.0, 1.0)], [])
    stale.mark_stale("silence")
    message: BookSnapshot = snapshot([(10.0, 1.0)], [(11.0, 1.0)], capture_seq=1)
    digests = set()
    for shown in (good, deeper, stale, None):
        chain = DigestChain()
        chain.update(message, shown)
        digests.add(chain.digest())
    assert len(digests) == 4


def test_without_messages_it_is_empty() -> None:
    assert DigestChain().hexdigest() == "0" * 32
