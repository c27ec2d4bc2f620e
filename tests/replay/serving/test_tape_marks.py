"""A seek in what is served begins at a mark, and comes to what playing from the beginning comes to."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import msgspec
import pytest

from recordings.recording import Recording
from replay.serving.deck import Deck
from replay.serving.tape_marks import Mark, TapeMarks
from tests.frame_tapes import MS, Script, Visitor, deck_of, sealed
from tests.tapes import TS, bbo_frame, mixed_tape
from toolkit.books.orderbook import OrderBook
from toolkit.messages import Message

GOLDEN = Path(__file__).parents[2] / "golden" / "format-2"
VENUES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
#: What a venue holds beside: facts of the tape, functions of requests, what is known of the tape as a whole, and clients.
NOT_OF_THE_TAPE = ("facts", "info", "synthesized", "_rest", "_takers", "_offered", "_known", "_askers")


def plain(value: Any) -> Any:
    """What is in it, with the order of everything that has one, to be compared."""
    match value:
        case Mapping():
            return [(plain(key), plain(each)) for key, each in value.items()]
        case list() | tuple() | deque():
            return [plain(each) for each in value]
        case set() | frozenset():
            return sorted(map(repr, value))
        case msgspec.Raw():
            return bytes(value)
        case msgspec.Struct():
            return [type(value).__name__, *(plain(getattr(value, name)) for name in value.__struct_fields__)]
        case None | bool() | int() | float() | str() | bytes() | FunctionType() | MethodType():
            return value
        case _:
            return [type(value).__name__, plain(value.__getstate__())]


def state(deck: Deck) -> Any:
    """The state of all that is served."""
    return [
        [
            each.sessions,
            each.had_session,
            plain(each.fed_by),
            [(name, plain(part)) for name, part in vars(each.venue).items() if name not in NOT_OF_THE_TAPE],
        ]
        for each in deck._served.values()
    ]


def marked(*recordings: Recording, frames: int, **options: Any) -> Deck:
    """A deck that was played to its end, with a mark every so many frames."""
    deck = deck_of(*recordings, **options)
    deck.tape.marks = TapeMarks(frames)
    batches = deck.tape._messages

    def few(position: int, rows: int | None, start: Any) -> Any:
        for messages in batches(position, rows, start):
            yield from (messages[at : at + frames] for at in range(0, len(messages), frames))

    deck.tape._messages = few  # type: ignore[method-assign, assignment]  # marks lie between batches, which are of 512 frames
    deck.player.play()
    assert len(deck.tape.marks) > 3
    return deck


def compare(recordings: list[Recording], times: list[int], *, frames: int) -> None:
    """Seek to these times one after the other, and compare with a fresh deck that has no marks."""
    deck = marked(*recordings, frames=frames)
    begun: list[bytes] = []
    load = deck.load

    def noted(state: bytes) -> None:
        begun.append(state)
        load(state)

    deck.load = noted  # type: ignore[method-assign]  # counts only
    for ns in times:
        deck.seek(ns)
        fresh = deck_of(*recordings)
        fresh.seek(ns)
        assert not fresh.tape.marks.before(ns)
        assert state(deck) == state(fresh)
        before, fresh_before = deck.player.message_count, fresh.player.message_count
        deck.player.play()
        fresh.player.play()
        assert deck.player.message_count - before == fresh.player.message_count - fresh_before
        assert state(deck) == state(fresh)
    assert begun, "and some of them from a mark"


@pytest.mark.parametrize("venue", VENUES)
def test_a_mark_comes_to_what_playing_from_the_beginning_comes_to(venue: str) -> None:
    """Books, lists of accounts, candles and REST answers of every venue, and what they come to at the end."""
    recording = Recording.open(GOLDEN / venue)
    assert recording.span is not None
    first, last = recording.span
    draw = random.Random(venue)
    compare([recording], [*(draw.randint(first, last) for _ in range(8)), first, last], frames=11)


@pytest.mark.parametrize("apart", [-300 * MS, 40 * MS])
def test_of_several_recordings_each_goes_on_where_it_was(tmp_path: Path, apart: int) -> None:
    """One after the other with a hole between them, and both at once."""
    one = mixed_tape(tmp_path / "one")
    assert one.span is not None
    script = Script(now=one.span[1] + apart)
    for number in range(60):
        script.said(bbo_frame("BTC", number, (10.0 + number, 1.0), (20.0 + number, 1.0)))
    two = sealed(tmp_path / "two", script.frames)
    assert two.span is not None
    first, last = one.span[0], two.span[1]
    times = [first + (last - first) * part // 11 for part in (10, 4, 9, 11, 1, 6, 10, 2)]
    compare([one, two], [*times, *(hole.end_ns for hole in deck_of(one, two).tape.holes)], frames=5)


def quotes(now: int, *, back: int = 0) -> Script:
    """A quote every millisecond, after the twentieth so many of them back."""
    script = Script(now=now)
    for number in range(40):
        if number == 20:
            script.now -= back * MS
        script.said(bbo_frame("BTC", number, (10.0 + number, 1.0), (20.0 + number, 1.0)))
    return script


def test_a_clock_that_steps_back_hides_no_frame(tmp_path: Path) -> None:
    """A mark is good for times after all that was received before it, also where another recording is merged with it."""
    tape = quotes(TS, back=12).recording(tmp_path / "tape")
    also = quotes(TS + MS // 2).recording(tmp_path / "also")
    times = [TS + offset * MS for offset in (5, 26, 12, 19, 21, 18, 27, 8, 22)]
    compare([tape], times, frames=3)
    compare([tape, also], times, frames=3)


def test_a_seek_ahead_takes_a_mark_that_is_closer(tmp_path: Path) -> None:
    """And closes those who listen, as every seek does."""
    tape = mixed_tape(tmp_path / "tape")
    assert tape.span is not None
    first, last = tape.span
    deck = marked(tape, frames=9)
    deck.seek(first + 1)
    visitor = Visitor(deck)
    visitor.subscribe("trades", coin="BTC")
    taken: list[Message] = []
    take = deck.apply

    def noted(message: Message) -> OrderBook | None:
        taken.append(message)
        return take(message)

    deck.player._tracker.apply = noted  # type: ignore[method-assign]  # counts only
    deck.seek(last)
    assert len(taken) <= 9
    assert visitor.client.drop is not None


def test_marks_keep_to_their_room() -> None:
    """Every second one is given up, and the newest is kept."""
    marks = TapeMarks(10, room=1000)
    for number in range(100):
        if marks.passed(10, number):
            marks.add(Mark(number, {}, bytes(90)))
    assert 5 < len(marks) <= 11
    newest, oldest = marks.before(1000), marks.before(25)
    assert newest is not None
    assert newest.reached_ns > 80
    assert oldest is not None
    assert oldest.reached_ns < 25
    assert marks.before(0) is None


def test_a_mark_larger_than_all_the_room_is_not_kept() -> None:
    """Nor is the state written down as often from then on."""
    marks = TapeMarks(10, room=1000)
    added = 0
    for number in range(100):
        if marks.passed(10, number):
            marks.add(Mark(number, {}, bytes(1001 if number > 4 else 90)))
            added += 1
            assert marks.size <= 1000
    assert marks.before(1000) is None
    assert added < 12
