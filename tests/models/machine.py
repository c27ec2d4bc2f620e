"""
Plays a venue's protocol against a model of its venue, and compares what both believe.

    Model (what is true) ── frames ──► Road (loses, doubles, swaps, holds) ──► Client (protocol and trackers)
                         ◄─ requests ─────────────────────────────────────────

A sequence is a list of whole numbers. Each is one step, carried out with a generator that is seeded by that number
alone; so steps can be left out of a sequence that fails, and `shrunk` finds a short one that fails still.

After a settling, in which nothing is lost any more and the venue's own rhythm passes, `Model.differences` says where
the client's books, orders, fills, positions and balances are not the model's, unless they say that they are stale.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Final

import msgspec

from toolkit.accounts.connector_events import ConnectorEvent
from toolkit.accounts.user_tracker import UserStreamTracker
from toolkit.books.tracker import OrderBookTracker
from toolkit.frames import CONTROL, REST_IN, REST_OUT, WS_IN, WS_OUT, Frame, control_payload
from toolkit.messages import Message
from toolkit.protocol import CloseConnection, RestCall, SendText, VenueProtocol
from toolkit.rng import seeded

__all__ = ["Bug", "Difference", "Line", "Machine", "Model", "failures", "hunt", "run_many", "sequence", "shrunk"]

SECOND: Final = 1_000_000_000
#: When every sequence begins, wall clock, ns: a quarter past an hour.
BEGIN_NS: Final = 1_790_000_100_000_000_000
#: Rounds of requests and answers after which a settling is taken for endless.
_ROUNDS_MAX: Final = 400
_NOTHING: Final = object()
#: One in so many sequences is replayed as well.
REPLAYED_EVERY: Final = 4


class Difference(AssertionError):
    """Client and model believe different things."""


@dataclass(eq=False)
class Line:
    """
    One connection, and what is on its way to the client.

    Attributes:
        conn_id: As in frames.
        role: Role that the protocol opened it for.
        path: Below the venue's URL.
        epoch: How often it was made.
        is_open: Whether it stands.
        is_torn: Whether something on it was lost, so that it has to break before anybody may believe the client.
        in_flight: Frames that the venue has sent and the client has not received, oldest first.
        state: Whatever the model keeps of it; emptied when it breaks.
    """

    conn_id: int
    role: str
    path: str = ""
    epoch: int = -1
    is_open: bool = False
    is_torn: bool = False
    in_flight: list[bytes] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def send(self, payload: Any) -> None:
        """The venue sends a frame; anything but bytes is encoded as JSON."""
        if self.is_open:
            self.in_flight.append(payload if isinstance(payload, bytes) else msgspec.json.encode(payload))


@dataclass(eq=False)
class _Pending:
    """A REST request on its way; `answer` once the venue has made it, `number` names it once it has left."""

    call: RestCall
    answer: tuple[int, bytes] | None = None
    number: int = -1


class Model(ABC):
    """
    A small exact market with accounts, and what its venue sends of them.

    A subclass is one venue's. It never looks at the client except in `differences`.

    Attributes:
        machine: Machine that it is part of: the time, and the lines to send on.
        clock_offset_ns: By how much the venue's clock is off; steps of it are among the mutations.
    """

    #: How long a settling lasts: longer than everything that the venue repeats by itself.
    settle_ns: ClassVar[int] = 12 * SECOND
    #: In steps of this.
    settle_step_ns: ClassVar[int] = SECOND
    #: How much longer the last settling is, in steps of ten minutes: what is asked for now and then comes meanwhile.
    long_ns: ClassVar[int] = 0
    #: Steps of the model's own, with their weights; each is a method that takes a generator.
    actions: ClassVar[dict[str, int]] = {}

    def __init__(self, rng: Random) -> None:
        self.machine: Machine
        self.clock_offset_ns = 0

    @property
    def now_ns(self) -> int:
        """The venue's clock."""
        return self.machine.true_ns + self.clock_offset_ns

    @abstractmethod
    def make_protocol(self) -> VenueProtocol:
        """A fresh protocol with the options of this sequence; the same options each time."""

    @abstractmethod
    def opened(self, line: Line) -> None:
        """A connection was made."""

    @abstractmethod
    def receive(self, line: Line, text: bytes) -> None:
        """The client sent something on an open connection."""

    @abstractmethod
    def answer(self, call: RestCall) -> tuple[int, bytes]:
        """Status and body of a REST answer, as of now."""

    def first_answer(self, call: RestCall) -> tuple[int, bytes]:
        """The same before any connection; a listing may be odd, and what nothing needs may be refused."""
        return self.answer(call)

    @abstractmethod
    def passed(self) -> None:
        """Time went on; send what is due."""

    def lost(self, line: Line, payload: bytes) -> bool:
        """A frame was lost on the road. Returns whether the line has to break for it (TCP would)."""
        return True

    def delivered(self, line: Line, payload: bytes) -> None:
        """The client has received a frame."""

    def answered(self, call: RestCall, status: int, body: bytes) -> None:
        """The client has received an answer."""

    def garbled(self, payload: bytes, rng: Random) -> bytes:
        """The same frame with something in it that the sheet does not say; what it told otherwise stays."""
        return payload

    def garbled_answer(self, tag: str, body: bytes, rng: Random) -> bytes:
        """The same for the body of a REST answer."""
        return body

    def settling(self) -> None:
        """A settling begins."""

    def invariants(self) -> list[str]:
        """What the client may never believe, in the middle of anything; one line each."""
        return []

    @abstractmethod
    def differences(self) -> list[str]:
        """Where the client is wrong without saying so, one line each."""


class Machine:
    """
    One sequence.

    Args:
        make_model: Makes the model.
        seed: Seed of the model's own choices.
        is_replayed: Whether a replay of the frames has to say the same in the end.

    Attributes:
        true_ns: The true time; the client's wall clock and the venue's may be off.
        wall_offset_ns: By how much the client's wall clock is off.
        slept_ns: For how long the client's machine slept, in which its monotonic clock stood still.
        protocol: Under test; another object after a restart.
        books, users: The trackers behind it.
        frames: Everything that it was given.
        messages: Everything that it has said, in order.
        told: Events of the connector, likewise.
        lines: Connections, by number.
        is_settling: Whether nothing is lost at present.
        is_last: Whether this is the last settling.
        log: Actions so far, for people.
    """

    #: Steps of the road, with their weights.
    STEPS: ClassVar[dict[str, int]] = {
        "pass_time": 30, "deliver": 12, "deliver_some": 6, "lose": 2, "double": 3, "swap": 3, "hold": 3, "garble": 7,
        "break_line": 3, "reconnect": 4, "answer_some": 8, "fail_rest": 1, "garble_rest": 2, "step_wall": 1,
        "step_venue": 1, "old_epoch": 1, "restart": 1, "sleep": 1, "settle": 2,
    }  # fmt: skip

    def __init__(self, make_model: Callable[[Random], Model], seed: int | str, *, is_replayed: bool = False) -> None:
        self.is_replayed = is_replayed
        #: Of the request whose answer the model is told of.
        self.answered_number = 0
        self.true_ns = BEGIN_NS
        self.wall_offset_ns = 0
        self.slept_ns = 0
        self.books = OrderBookTracker(checked=True)
        self.users = UserStreamTracker()
        self.frames: list[Frame] = []
        self.messages: list[Message] = []
        self.told: list[ConnectorEvent] = []
        self.users.add_listener(self.told.append)
        self.lines: dict[int, Line] = {}
        self.is_settling = False
        self.is_last = False
        self.log: list[str] = []
        self._pending: list[_Pending] = []
        self._seq = 0
        self.model = make_model(seeded(f"{seed} model"))
        self.model.machine = self
        self._actions = {**self.STEPS, **self.model.actions}
        self.protocol = self.model.make_protocol()
        self._begin()

    # -- what is done ------------------------------------------------------------------------------------------

    def run(self, steps: Sequence[int]) -> None:
        """Carry out every step, then settle. Raises Difference."""
        names, weights = list(self._actions), list(self._actions.values())
        for number in steps:
            rng = seeded(number)
            name = rng.choices(names, weights)[0]
            self.log.append(name)
            action = getattr(self, name, None) or getattr(self.model, name)
            action(rng)
        self.is_last = True
        self.settle()
        if self.is_replayed:
            self._compare_replay()

    def idle(self, ns: int, *, is_rest_down: bool = False) -> None:
        """Much time goes by at once; with REST down, every request fails meanwhile."""
        self._pass(ns)
        while is_rest_down and self._pending:
            self.fail_rest(seeded(len(self._pending)))

    def pass_time(self, rng: Random) -> None:
        """Time goes on, mostly a little."""
        self._pass(rng.choice([5, 40, 100, 250, 600, 1500, 4000]) * 1_000_000)

    def deliver(self, rng: Random) -> None:
        """Everything on its way arrives."""
        for line in list(self.lines.values()):
            self._deliver(line, len(line.in_flight))

    def deliver_some(self, rng: Random) -> None:
        """Some of what is on its way on one line arrives."""
        line = self._line(rng)
        if line is not None:
            self._deliver(line, rng.randint(1, max(1, len(line.in_flight))))

    def lose(self, rng: Random) -> None:
        """One frame never arrives."""
        line = self._line(rng)
        if line is not None and line.in_flight:
            payload = line.in_flight.pop(rng.randrange(len(line.in_flight)))
            line.is_torn = self.model.lost(line, payload) or line.is_torn

    def double(self, rng: Random) -> None:
        """One frame arrives twice."""
        line = self._line(rng)
        if line is not None and line.in_flight:
            place = rng.randrange(len(line.in_flight))
            line.in_flight.insert(rng.randint(place, len(line.in_flight)), line.in_flight[place])

    def swap(self, rng: Random) -> None:
        """Two neighbours arrive in the other order."""
        line = self._line(rng)
        if line is not None and len(line.in_flight) > 1:
            place = rng.randrange(len(line.in_flight) - 1)
            both = line.in_flight[place : place + 2]
            line.in_flight[place : place + 2] = both[::-1]

    def hold(self, rng: Random) -> None:
        """All other lines arrive while one is held up."""
        held = self._line(rng)
        for line in list(self.lines.values()):
            if line is not held:
                self._deliver(line, len(line.in_flight))

    def garble(self, rng: Random) -> None:
        """One frame says something that the sheet does not know."""
        line = self._line(rng)
        if line is not None and line.in_flight:
            place = rng.randrange(len(line.in_flight))
            line.in_flight[place] = self.model.garbled(line.in_flight[place], rng)

    def break_line(self, rng: Random) -> None:
        """A connection is lost, with all or some of what was on its way."""
        line = self._line(rng)
        if line is not None:
            self._deliver(line, rng.randint(0, len(line.in_flight)))
            self._break(line, "disconnect")

    def reconnect(self, rng: Random) -> None:
        """Connections that are down are made again."""
        self._open_lines()

    def answer_some(self, rng: Random) -> None:
        """REST answers are made, and some of them arrive, not always in order."""
        for pending in self._pending[: rng.randint(1, 6)]:
            self._make_answer(pending)
        made = [pending for pending in self._pending if pending.answer is not None]
        rng.shuffle(made)
        for pending in made[: rng.randint(1, 4)]:
            self._answer(pending)

    def fail_rest(self, rng: Random) -> None:
        """A request gets no answer, or one that is no use."""
        if self._pending:
            pending = self._pending.pop(rng.randrange(len(self._pending)))
            tag = pending.call.tag
            self._give(REST_OUT, pending.call.body, -1, 0, {"tag": tag})
            if rng.random() < 0.5:
                self._give(REST_IN, b"null", -1, 0, {"tag": tag, "status": rng.choice([500, 422, 429])})
            self._give(CONTROL, control_payload("request_failed", tag=tag, attempts=3, error="no answer"), -1, 0)

    def garble_rest(self, rng: Random) -> None:
        """A REST answer says something that the sheet does not know."""
        if self._pending:
            pending = rng.choice(self._pending)
            status, body = self._make_answer(pending)
            pending.answer = status, self.model.garbled_answer(pending.call.tag, body, rng)

    def step_wall(self, rng: Random) -> None:
        """The client's wall clock is set."""
        self.wall_offset_ns += rng.choice([-3600, -60, -2, 2, 60, 3600]) * SECOND

    def step_venue(self, rng: Random) -> None:
        """The venue's clock is set."""
        self.model.clock_offset_ns += rng.choice([-60, -3, -1, 1, 5]) * SECOND

    def old_epoch(self, rng: Random) -> None:
        """Every connection breaks and is made again while REST answers of before are on their way."""
        self.make_answers()
        for line in list(self.lines.values()):
            if line.is_open:
                self._break(line, "disconnect")
        self._open_lines()

    def sleep(self, rng: Random) -> None:
        """The client's machine sleeps; what was on its way is lost, and every connection is made again."""
        ns = rng.choice([2, 20, 600, 4 * 3600]) * SECOND
        self.true_ns += ns
        self.slept_ns += ns
        self.model.passed()
        lines = [line for line in self.lines.values() if line.is_open]
        if not lines:
            self._give(CONTROL, control_payload("notice", cause="suspend", silence_s=ns // SECOND), -1, 0)
        for line in lines:
            details = {"role": line.role, "cause": "suspend", "silence_s": ns // SECOND}
            self._give(CONTROL, control_payload("connection_stale", **details), line.conn_id, line.epoch)
        for line in lines:
            self._break(line, "suspend")

    def restart(self, rng: Random) -> None:
        """The recording is stopped and continued: another protocol goes on from the state of this one."""
        for line in self.lines.values():
            if line.is_open:
                self._break(line, "stop", is_told=False)
        self._give(CONTROL, control_payload("session_end", cause="stop"), -1, 0)
        state = self.protocol.checkpoint()
        self.protocol = self.model.make_protocol()
        self.protocol.restore(state)
        self.lines.clear()
        self._pending.clear()
        self._begin()

    def settle(self, rng: Random | None = None) -> None:
        """Nothing is lost any more and the venue's own rhythm passes; then both must believe the same."""
        self.is_settling = True
        self.model.settling()
        for line in self.lines.values():
            if line.is_open and line.is_torn:
                self._break(line, "disconnect")
        self._open_lines()
        self._quiet()
        end_ns = self.true_ns + (self.model.long_ns if self.is_last else 0)
        while self.true_ns < end_ns:
            self._pass(600 * SECOND)
            self._quiet()
        end_ns = self.true_ns + self.model.settle_ns
        while self.true_ns < end_ns:
            self._pass(self.model.settle_step_ns)
            self._quiet()
        self.is_settling = False
        found = self.model.differences()
        if found:
            raise Difference("; ".join(found[:8]))

    def break_of(self, line: Line, cause: str = "disconnect") -> None:
        """The venue breaks a connection."""
        self._break(line, cause)

    def make_answers(self) -> None:
        """The venue has made its answers to all that was asked; they are on their way."""
        for pending in list(self._pending):
            self._make_answer(pending)

    def answer_all(self, rng: Random) -> None:
        """The answers to all that was asked come in any order, ahead of whatever is on the lines."""
        for pending in rng.sample(self._pending, len(self._pending)):
            self._answer(pending)

    def open_lines(self) -> None:
        """Connections that are down are made again, and what the venue sends at once arrives."""
        self._open_lines()
        for line in list(self.lines.values()):
            self._deliver(line, len(line.in_flight))

    def pass_ns(self, ns: int) -> None:
        """That much time goes on."""
        self._pass(ns)

    # -- how ---------------------------------------------------------------------------------------------------

    def _compare_replay(self) -> None:
        """What a protocol says depends on its frames: not on who asks it for requests, nor on restarts."""
        protocol = self.model.make_protocol()
        said = [message for frame in self.frames for message in protocol.receive(frame)]
        for live, replayed in zip(self.messages, said, strict=False):
            if live != replayed:
                raise Difference(f"live {live}, replayed {replayed}")
        if len(self.messages) != len(said):
            raise Difference(f"{len(self.messages)} messages live, {len(said)} replayed")

    def _begin(self) -> None:
        for request in self.protocol.bootstrap():
            self._carry_out(request)
        for _ in range(_ROUNDS_MAX):
            if not self._pending:
                break
            for pending in list(self._pending):
                self._make_answer(pending, self.model.first_answer)
                self._answer(pending)
        assert self.protocol.failure is None, self.protocol.failure
        assert self.protocol.is_ready
        self._open_lines()

    def _quiet(self) -> None:
        """Deliver and answer until nothing is on its way."""
        for _ in range(_ROUNDS_MAX):
            self._open_lines()
            lines = [line for line in self.lines.values() if line.in_flight]
            if not lines and not self._pending:
                return
            for line in lines:
                self._deliver(line, len(line.in_flight))
            for pending in list(self._pending):
                self._answer(pending)
        raise Difference("the protocol asks without end")

    def _pass(self, ns: int) -> None:
        self.true_ns += ns
        self.model.passed()
        for stream in self.protocol.streams.silent(self._mono_ns):
            details = {"symbol": stream.symbol, "stream": stream.stream, "cause": "silence"}
            self._give(CONTROL, control_payload("stale", **details), stream.conn_id, 0)
        for request in self.protocol.due(self._mono_ns):
            self._carry_out(request)

    def _line(self, rng: Random) -> Line | None:
        busy = [line for line in self.lines.values() if line.is_open]
        return rng.choice(busy) if busy else None

    def _open_lines(self) -> None:
        known = {line.role: line for line in self.lines.values()}
        for plan in self.protocol.connections():
            line = known.get(plan.role)
            if line is None:
                line = Line(len(self.lines), plan.role, plan.path)
                self.lines[line.conn_id] = line
            if not line.is_open:
                line.is_open, line.epoch, line.is_torn, line.state = True, line.epoch + 1, False, {}
                self.model.opened(line)
                self._give(CONTROL, control_payload("connected", role=line.role), line.conn_id, line.epoch)

    def _break(self, line: Line, cause: str, *, is_told: bool = True) -> None:
        for payload in line.in_flight:
            self.model.lost(line, payload)
        line.in_flight.clear()
        line.is_open, line.is_torn, line.state = False, False, {}
        if is_told:
            event = control_payload("disconnected", role=line.role, cause=cause)
            self._give(CONTROL, event, line.conn_id, line.epoch)

    def _deliver(self, line: Line, count: int) -> None:
        arriving, line.in_flight[:count] = line.in_flight[:count], []
        epoch = line.epoch
        while arriving and line.is_open and line.epoch == epoch:
            payload = arriving.pop(0)
            self.model.delivered(line, payload)
            self._give(WS_IN, payload, line.conn_id, line.epoch)
        for payload in arriving:
            self.model.lost(line, payload)

    def _answer(self, pending: _Pending) -> None:
        if pending not in self._pending:
            return
        status, body = self._make_answer(pending)
        self._pending.remove(pending)
        self.answered_number = pending.number
        self.model.answered(pending.call, status, body)
        self._give(REST_IN, body, -1, 0, {"tag": pending.call.tag, "id": pending.number, "status": status})
        if status != 200:
            event = control_payload("request_failed", tag=pending.call.tag, attempts=1, error=f"HTTP {status}")
            self._give(CONTROL, event, -1, 0)

    def _make_answer(
        self, pending: _Pending, make: Callable[[RestCall], tuple[int, bytes]] | None = None
    ) -> tuple[int, bytes]:
        """The request leaves, if it has not, and the venue answers it as of then."""
        if pending.answer is None:
            pending.number = self._seq
            self._give(REST_OUT, pending.call.body, -1, 0, {"tag": pending.call.tag, "id": pending.number})
            pending.answer = (make or self.model.answer)(pending.call)
        return pending.answer

    @property
    def _mono_ns(self) -> int:
        return self.true_ns - BEGIN_NS - self.slept_ns + 1000 * SECOND

    def _give(self, kind: str, payload: bytes, conn_id: int, epoch: int, context: Any = None) -> None:
        self.true_ns += 1000
        text = None if context is None else msgspec.json.encode(context).decode()
        wall_ns = self.true_ns + self.wall_offset_ns
        venue = self.protocol.venue
        frame = Frame(self._seq, wall_ns, self._mono_ns, venue, conn_id, epoch, kind, payload, text)
        self._seq += 1
        self.frames.append(frame)
        for message in self.protocol.receive(frame):
            self.messages.append(message)
            self.books(message)
            self.users(message)
        if kind in (WS_IN, REST_IN) and (broken := self.model.invariants()):
            raise Difference("; ".join(broken))
        if self.protocol.failure is not None:
            raise Difference(f"the protocol gives up: {self.protocol.failure}")
        for request in self.protocol.requests():
            self._carry_out(request)

    def _carry_out(self, request: SendText | RestCall | CloseConnection) -> None:
        if isinstance(request, RestCall):
            self._pending.append(_Pending(request))
            return
        line = self.lines.get(request.conn_id)
        if line is None or not line.is_open:
            return
        if isinstance(request, CloseConnection):
            self._break(line, request.reason)
        else:
            self._give(WS_OUT, request.text, line.conn_id, line.epoch)
            self.model.receive(line, request.text)


# -- many sequences ----------------------------------------------------------------------------------------------


def sequence(seed: int | str, length: int) -> list[int]:
    """The steps of one sequence."""
    rng = seeded(f"{seed} steps")
    return [rng.getrandbits(48) for _ in range(length)]


def _failure(
    make_model: Callable[[Random], Model], seed: int | str, steps: Sequence[int], *, is_replayed: bool = False
) -> str:
    try:
        Machine(make_model, seed, is_replayed=is_replayed).run(steps)
    except Exception as exc:  # noqa: BLE001  # whatever the code under test raises is what is looked for
        return f"{type(exc).__name__}: {exc}"
    return ""


def shrunk(
    make_model: Callable[[Random], Model], seed: int | str, steps: Sequence[int], *, is_replayed: bool = False
) -> list[int]:
    """A part of the steps that fails still, of which no stretch can be left out."""
    kept, size = list(steps), max(1, len(steps) // 2)
    while size:
        place = 0
        while place < len(kept):
            fewer = kept[:place] + kept[place + size :]
            if _failure(make_model, seed, fewer, is_replayed=is_replayed):
                kept = fewer
            else:
                place += size
        size //= 2
    return kept


def failures(
    make_model: Callable[[Random], Model], seed: int | str, numbers: Iterable[int], length: int = 60
) -> Iterator[tuple[int, str]]:
    """Run the sequences of these numbers; gives the number of each, and how it failed, or nothing."""
    for number in numbers:
        name = f"{seed}/{number}"
        is_replayed = number % REPLAYED_EVERY == 0
        yield number, _failure(make_model, name, sequence(name, length), is_replayed=is_replayed)


def run_many(
    make_model: Callable[[Random], Model], seed: int | str, count: int, length: int = 60, first: int = 0
) -> int:
    """
    Run that many sequences, from a number on; returns the number of steps.

    Raises Difference for the first that fails, shrunk.
    """
    for number, failure in failures(make_model, seed, range(first, first + count), length):
        if failure:
            name, is_replayed = f"{seed}/{number}", number % REPLAYED_EVERY == 0
            least = shrunk(make_model, name, sequence(name, length), is_replayed=is_replayed)
            machine = Machine(make_model, name, is_replayed=is_replayed)
            try:
                machine.run(least)
            except Exception as exc:
                done = ", ".join(machine.log)
                raise Difference(f"sequence {name!r}, {len(least)} steps ({done}): {exc}") from exc
    return count * length


@dataclass(frozen=True)
class Bug:
    """
    A fault put back on purpose, to see that the machine finds it.

    Attributes:
        name: Name that says what it does.
        put_back: A context within which the fault is there.
    """

    name: str
    put_back: Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within it, an attribute of a class or module is another; one that only instances have gets one, too."""
    before = getattr(owner, name, _NOTHING)
    assert before is not _NOTHING or isinstance(owner, type), f"{owner} has no {name}: nothing would be replaced"
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is _NOTHING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def hunt(make_model: Callable[[Random], Model], bug: Bug, seed: int | str, limit: int, length: int = 60) -> int | None:
    """After how many sequences a bug is found; None if it is not within the limit."""
    with bug.put_back():
        for number in range(limit):
            name = f"{seed}/{number}"
            if _failure(make_model, name, sequence(name, length)):
                return number + 1
    return None
