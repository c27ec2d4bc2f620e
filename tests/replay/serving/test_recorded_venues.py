"""
Recordings of served recordings of dYdX v4 and Binance, two generations deep, and what is the same in all of them.

Of both, every payload that the venue sent, in order over all connections, with the role of its connection. It is equal byte
for byte on Binance; on dYdX but for `connection_id` and `message_id`, which are of a connection by nature.

Of dYdX also every message made of these and the books after each, by their digest, but for the update id of a book message,
which is that `message_id`.

Of Binance a book begins when the recorder's own REST question was answered, which is chance in the original too, so a diff
before that is said to be unjoined in one recording and not in another. Everything else is equal: every diff by its ids and
levels, every other message, and the whole book at the end.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

import msgspec
import pytest

from recordings.care.verifying import verify
from recordings.recording import Recording
from tests.generations import embedded_session, final_books, plain, record_of, told
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, FundingInfo, Message, Trade
from toolkit.protocol import ProtocolOptions

#: Pairs of each venue, and how many subscriptions a recorder of them makes.
VENUES = {
    "dydx_v4": (("BTC-USD", "ETH-USD"), 6),
    "binance-usdm": (("BTC-USDT", "1000PEPE-USDT"), 10),
    "binance-spot": (("BTC-USDT", "HYPE-USDC"), 6),
    "binance-coinm": (("BTC-USD", "ETH-USD"), 10),
}
_NUMBERS = re.compile(rb'"connection_id":"[^"]*","message_id":\d+')


class Generations(NamedTuple):
    venue: str
    recordings: tuple[Recording, Recording, Recording]


#: Those that add little to the others.
SLOW = {"binance-spot", "binance-coinm"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(venue, marks=[pytest.mark.slow] if venue in SLOW else []) for venue in VENUES],
)
def generations(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generations:
    venue: str = request.param
    pairs, streams = VENUES[venue]
    folder = tmp_path_factory.mktemp(venue)

    async def main() -> Generations:
        wanted = ProtocolOptions(pairs=pairs)
        first = await embedded_session(folder / "original", venue, pairs)
        second = await record_of(first, folder / "first", wanted, streams)
        return Generations(venue, (first, second, await record_of(second, folder / "second", wanted, streams)))

    return asyncio.run(main())


def without_numbers(payload: bytes) -> bytes:
    return _NUMBERS.sub(b"", payload, count=1)


def without_update_id(message: Message) -> Message:
    message = plain(message)
    if isinstance(message, BookDiff | BookSnapshot):
        return msgspec.structs.replace(message, last_update_id=None)
    return message


def without_form(message: Message) -> Message:
    """A diff whether or not it was joined to a snapshot."""
    message = plain(message)
    return msgspec.structs.replace(message, form="", fused=False) if isinstance(message, BookDiff) else message


def test_a_recording_of_a_recording_of_a_recording_says_the_same(generations: Generations) -> None:
    is_dydx = generations.venue == "dydx_v4"
    number_less, message_of = (without_numbers, without_update_id) if is_dydx else (bytes, without_form)
    first, *others = (told(each, number_less, message_of) for each in generations.recordings)
    assert len(first.payloads) > 100
    kinds = {type(message) for message in first.messages}
    assert kinds >= {BookDiff, Trade}
    assert (BestQuote in kinds) is not is_dydx
    assert (FundingInfo in kinds) is not generations.venue.endswith("spot")
    for other in others:
        assert other.payloads == first.payloads
        assert other.messages == first.messages
        if is_dydx:
            assert other.digest == first.digest
            assert other.replies == first.replies


def test_every_generation_ends_with_the_same_books(generations: Generations) -> None:
    first, *others = (final_books(recording) for recording in generations.recordings)
    assert first.keys() == set(VENUES[generations.venue][0])
    assert all(bids[0] and asks[0] for bids, asks in first.values())
    assert all(other == first for other in others)


def test_each_generation_is_a_sound_recording(generations: Generations) -> None:
    for recording in generations.recordings:
        assert verify(recording.path).problems == []
