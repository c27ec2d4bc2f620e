"""
Whether a frame of a connection was lost, recognized by `message_id`.

The venue counts per connection, over all channels, from 0 (`connected`), one up for every data frame it sends and for
every subscribe or unsubscribe it takes up. The answer to a subscribe carries the number of the request but is sent
only once its snapshot was fetched, up to 20 s later, while data frames with higher numbers go out. So numbers come
out of order, but in the end none is missing: a number that stays unseen and that no outstanding request can own is a
lost frame. An `error` carries the newest number; the one its request owned is then never seen.
(Indexer, services/socks/src/lib/{message-forwarder,subscription}.ts; a strictly rising number is what other clients
assumed first and had to give up.)
"""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.frames import Frame

__all__ = ["ANSWER_S_MAX", "GRACE_S", "Arrival", "ConnectionNumbers", "Lost", "MessageNumbers", "Outstanding"]

#: A number that nothing explains is given this long; a reordering on the way is over sooner.
GRACE_S: Final = 5
#: The venue gives up on a snapshot after 20 s. A request unanswered for longer owns no number any more.
ANSWER_S_MAX: Final = 30
#: A capture without our requests does not show what a missing number may still be the answer to: it waits that out.
GRACE_S_UNSENT: Final = 25
#: An imported file with more holes than this, in a quarter of its numbers, is a selection of channels, not a loss.
SELECTION_HOLES: Final = 8
#: Answers of a connection that are remembered: it carries a few dozen subscriptions.
ANSWERS_REMEMBERED: Final = 128
#: Connections whose numbers are remembered; an import may hold frames of many.
CONNECTIONS_REMEMBERED: Final = 256


class Hole(msgspec.Struct):
    """Numbers `first` to `last` were passed over by the frame `noticed` (its `capture_seq`), received at `mono` ns."""

    first: int
    last: int
    noticed: int
    mono: int

    @property
    def size(self) -> int:
        """How many numbers are missing."""
        return self.last - self.first + 1


class Arrival(enum.Enum):
    """How a frame fits those before it on its connection."""

    #: As it should, with or without others missing before it.
    NEXT = enum.auto()
    #: After frames that were sent later. A socket keeps the order, so somebody between the venue and us did not.
    LATE = enum.auto()
    #: Its number was seen, or given up for lost.
    REPEATED = enum.auto()


class Outstanding(msgspec.Struct):
    """A request without an answer yet: of which kind, for what, sent as frame `sent` at `mono` ns."""

    type: str
    channel: str
    id: str
    sent: int
    mono: int


class _State(msgspec.Struct):
    """
    Attributes:
        last: The highest number seen; None before the first.
        holes: Numbers below it that were not, ascending.
        missing: How many numbers the holes hold.
        void: How many of them belong to requests that were answered by an error, and so stay unseen.
        outstanding: Requests without an answer, in the order they were sent.
        unexplained_mono: Since when there are more missing than requests can own.
        has_requests: Whether the frames show what we sent; an imported capture does not.
        seen_count: Frames with a number.
        is_selection: Whether the capture holds a part of the channels only.
        answers: The numbers of answers that came, which may be late; the newest ones.
    """

    last: int | None = None
    holes: list[Hole] = []
    missing: int = 0
    void: int = 0
    outstanding: list[Outstanding] = []
    unexplained_mono: int | None = None
    has_requests: bool = False
    seen_count: int = 0
    is_selection: bool = False
    answers: list[int] = []


class Lost(msgspec.Struct, frozen=True):
    """
    Numbers that nothing explains.

    Attributes:
        count: How many.
        first: The lowest number that is missing.
        is_selection: There are so many that the capture holds a part of the channels only; numbers say nothing in it.
    """

    count: int
    first: int
    is_selection: bool


class MessageNumbers:
    """The numbers of one connection, from its first frame that we have."""

    def __init__(self) -> None:
        self._state = _State()

    @property
    def is_whole(self) -> bool:
        """Whether no number is missing, so that there is nothing to be asked of `lost`."""
        return not self._state.holes

    def sent(self, kind: str, channel: str, id: str, capture_seq: int, mono_ns: int) -> None:
        """We sent a request; it will own one number."""
        state = self._state
        state.has_requests = True
        self._expire(mono_ns)
        state.outstanding.append(Outstanding(kind, channel, id, capture_seq, mono_ns))

    def seen(self, number: int, capture_seq: int, mono_ns: int, *, is_answer: bool = False) -> Arrival:
        """A frame came with that number: how that fits what came before. Only answers may be late."""
        state = self._state
        state.seen_count += 1
        if number - 1 == state.last and not is_answer:
            state.last = number
            return Arrival.NEXT
        arrival = Arrival.NEXT
        if is_answer:
            arrival = Arrival.REPEATED if number in state.answers else Arrival.NEXT
            state.answers = [*state.answers[1 - ANSWERS_REMEMBERED :], number]
        if state.last is None or number == state.last + 1:
            state.last = number
        elif number > state.last:
            self._pass_over(state.last + 1, number - 1, capture_seq, mono_ns)
            state.last = number
        else:
            was_missing = bool(state.holes) and self._fill(number)
            if not is_answer:
                arrival = Arrival.LATE if was_missing else Arrival.REPEATED
        return arrival

    def answered(self, kind: str, channel: str, id: str) -> None:
        """A request was answered, for good or ill. Nothing happens if none is known: it was sent before our frames."""
        outstanding = self._state.outstanding
        for index, request in enumerate(outstanding):
            if (request.type, request.channel, request.id) == (kind, channel, id):
                del outstanding[index]
                break

    def refused(self, number: int, capture_seq: int, mono_ns: int) -> None:
        """An `error` came: the number of its request, if it had one, is among the missing and stays so."""
        state = self._state
        if state.last is None:
            state.last = number
            return
        if number > state.last:
            # The newest number is a request's own: a data frame with it would have come before the error.
            self._pass_over(state.last + 1, number, capture_seq, mono_ns)
            state.last = number
        if state.outstanding or not state.has_requests:
            state.void = min(state.void + 1, state.missing)

    def outstanding(self, channel: str) -> list[Outstanding]:
        """Unanswered requests for a channel, in the order they were sent."""
        return [request for request in self._state.outstanding if request.channel == channel]

    def lost(self, mono_ns: int) -> Lost | None:
        """
        What must be taken for lost at that time of the monotonic clock; None if nothing.

        Call it after each frame. What it returned counts as known from then on.
        """
        if not (self._lost_for_sure(mono_ns) if self._state.has_requests else self._lost_by_time(mono_ns)):
            return None
        state = self._state
        state.is_selection = (
            not state.has_requests and len(state.holes) > SELECTION_HOLES and state.missing * 3 > state.seen_count
        )
        lost = Lost(state.missing - state.void, state.holes[0].first, state.is_selection)
        self._forget_holes()
        return lost

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return msgspec.to_builtins(self._state)

    @classmethod
    def restored(cls, state: Any) -> MessageNumbers:
        """What `export` described."""
        numbers = cls()
        numbers._state = msgspec.convert(state, _State)
        return numbers

    def _pass_over(self, first: int, last: int, capture_seq: int, mono_ns: int) -> None:
        state = self._state
        if not state.is_selection:
            state.holes.append(Hole(first, last, capture_seq, mono_ns))
            state.missing += last - first + 1

    def _fill(self, number: int) -> bool:
        state = self._state
        for index, hole in enumerate(state.holes):
            if hole.first <= number <= hole.last:
                left = Hole(hole.first, number - 1, hole.noticed, hole.mono)
                right = Hole(number + 1, hole.last, hole.noticed, hole.mono)
                state.holes[index : index + 1] = [part for part in (left, right) if part.size]
                state.missing -= 1
                state.void = min(state.void, state.missing)
                return True
        return False

    def _expire(self, mono_ns: int) -> None:
        state = self._state
        overdue = mono_ns - ANSWER_S_MAX * NS_PER_S
        if state.outstanding and state.outstanding[0].mono < overdue:
            state.outstanding = [request for request in state.outstanding if request.mono >= overdue]

    def _lost_for_sure(self, mono_ns: int) -> bool:
        """With our requests at hand: whether there have been more numbers missing than they can own, for some time."""
        state = self._state
        self._expire(mono_ns)
        if not state.outstanding and state.missing == state.void:
            self._forget_holes()
        if self._is_explained():
            state.unexplained_mono = None
            return False
        if state.unexplained_mono is None:
            state.unexplained_mono = mono_ns
        return mono_ns - state.unexplained_mono >= GRACE_S * NS_PER_S

    def _is_explained(self) -> bool:
        # A request owns a number above all that were passed over before it was sent.
        state = self._state
        missing = 0
        for hole in state.holes:
            missing += hole.size
            owners = sum(request.sent < hole.noticed for request in state.outstanding)
            if missing > owners + state.void:
                return False
        return True

    def _lost_by_time(self, mono_ns: int) -> bool:
        """Without them: whether numbers are missing for longer than any answer takes."""
        state = self._state
        if state.missing == state.void:
            self._forget_holes()
        old = 0
        for hole in state.holes:
            if mono_ns - hole.mono < GRACE_S_UNSENT * NS_PER_S:
                break
            old += hole.size
        return old > state.void

    def _forget_holes(self) -> None:
        state = self._state
        state.holes, state.missing, state.void, state.unexplained_mono = [], 0, 0, None


class ConnectionNumbers:
    """
    The numbers of every connection.

    They are kept by the venue's name of a connection, which is in its frames: an imported file may hold several
    connections, or several files one.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, MessageNumbers] = {}
        self._named: dict[int, str] = {}

    @staticmethod
    def key(frame: Frame, connection_id: str) -> str:
        """The venue's name of a connection, or one for it where a capture leaves it out."""
        return connection_id or f"#{frame.conn_id}"

    def of(self, key: str) -> MessageNumbers:
        """The numbers of a connection, begun if need be."""
        numbers = self._numbers.get(key)
        if numbers is None:
            if len(self._numbers) >= CONNECTIONS_REMEMBERED:
                del self._numbers[next(iter(self._numbers))]
            numbers = self._numbers[key] = MessageNumbers()
        return numbers

    def of_sent(self, frame: Frame) -> MessageNumbers:
        """The numbers of the connection that a frame of ours left on."""
        return self.of(self._named.get(frame.conn_id) or self.key(frame, ""))

    def begin(self, frame: Frame, key: str) -> MessageNumbers:
        """The venue greeted a connection under that name: its numbers, counted from here."""
        self._named[frame.conn_id] = key
        self._numbers.pop(key, None)
        return self.of(key)

    def end(self, frame: Frame) -> bool:
        """Our connection was made or lost: what is known of its numbers is over. Returns whether some may be missing."""
        numbers = self._numbers.pop(self._named.pop(frame.conn_id, self.key(frame, "")), None)
        return numbers is not None and not numbers.is_whole

    @property
    def is_whole(self) -> bool:
        """Whether no number of any connection is missing."""
        return all(numbers.is_whole for numbers in self._numbers.values())

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return [[key, numbers.export()] for key, numbers in self._numbers.items()], list(self._named.items())

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        numbers, named = state
        self._numbers = {key: MessageNumbers.restored(each) for key, each in numbers}
        self._named = dict(named)
