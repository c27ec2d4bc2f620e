"""`message_id`: any order that the venue may produce loses nothing, and a lost data frame is always found."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from toolkit.clock import NS_PER_S
from toolkit.venues.dydx_v4.numbering import GRACE_S, ConnectionNumbers, Lost, MessageNumbers


@dataclass
class Server:
    """The venue's counter: says what it sends when, with the request each frame answers."""

    sent: list[tuple[str, int, int]] = field(default_factory=list)
    counter: int = 0
    on_the_way: list[tuple[int, bool]] = field(default_factory=list)  # request, whether it will fail
    pending: list[tuple[int, int, bool]] = field(default_factory=list)  # request, its number, whether it fails

    def arrive(self) -> None:
        """A request arrives and takes a number; its answer waits."""
        self.counter += 1
        request, fails = self.on_the_way.pop(0)
        self.pending.append((request, self.counter, fails))

    def answer(self, index: int) -> None:
        request, number, fails = self.pending.pop(index % len(self.pending))
        self.sent.append(("error", self.counter, request) if fails else ("reply", number, request))

    def data(self) -> None:
        self.counter += 1
        self.sent.append(("data", self.counter, 0))


class Client:
    """Feeds what the server sends to the numbers, a frame each 100 ms."""

    def __init__(self, *, shows_requests: bool = True, tells_requests: bool = True) -> None:
        self.numbers = MessageNumbers()
        self.shows_requests = shows_requests
        self.tells_requests = tells_requests
        self.seq = 0
        self.found: list[Lost] = []
        self.numbers.seen(0, 0, 0)

    @property
    def mono_ns(self) -> int:
        return self.seq * NS_PER_S // 10

    def request(self, request: int) -> None:
        self.seq += 1
        if self.shows_requests:
            self.numbers.sent("subscribe", "ch", str(request), self.seq, self.mono_ns)

    def take(self, kind: str, number: int, request: int) -> None:
        self.seq += 1
        if kind == "error":
            self.numbers.refused(number, self.seq, self.mono_ns)
            if self.tells_requests:
                self.numbers.answered("subscribe", "ch", str(request))
        else:
            self.numbers.seen(number, self.seq, self.mono_ns)
            if kind == "reply":
                self.numbers.answered("subscribe", "ch", str(request))
        lost = None if self.numbers.is_whole else self.numbers.lost(self.mono_ns)
        if lost is not None:
            self.found.append(lost)


# What happens next: the venue sends data; we send a request (that will fail); the oldest request on its way arrives; the
# venue answers one of those that wait; what it sent arrives here.
STEPS = st.lists(
    st.one_of(
        st.just(("data", 0)),
        st.just(("data", 0)),
        st.just(("ask", 0)),
        st.just(("fail", 0)),
        st.just(("arrive", 0)),
        st.just(("deliver", 0)),
        st.tuples(st.just("answer"), st.integers(0, 9)),
    ),
    max_size=60,
)


def play(steps: list[tuple[str, int]], client: Client, dropped: int | None) -> int | None:
    """Play server against client, leaving one data frame out; returns its number."""
    server = Server()
    requests = 0
    data_seen = 0
    lost_number = None

    def deliver() -> None:
        nonlocal data_seen, lost_number
        for kind, number, request in server.sent:
            if kind == "data":
                data_seen += 1
                if data_seen - 1 == dropped:
                    lost_number = number
                    continue
            client.take(kind, number, request)
        server.sent.clear()

    for what, index in steps:
        if what == "data":
            server.data()
        elif what in ("ask", "fail"):
            requests += 1
            client.request(requests)
            server.on_the_way.append((requests, what == "fail"))
        elif what == "arrive" and server.on_the_way:
            server.arrive()
        elif what == "answer" and server.pending:
            server.answer(index)
        elif what == "deliver":
            deliver()
    while server.on_the_way:
        server.arrive()
    while server.pending:
        server.answer(0)
    # More than a minute of data: longer than any answer and any grace.
    for _ in range(700):
        server.data()
        deliver()
    return lost_number


@given(STEPS, st.booleans())
def test_what_the_venue_may_send_loses_nothing(steps: list[tuple[str, int]], tells_requests: bool) -> None:
    """Late answers, errors that name no request, numbers out of order: none of it is a loss."""
    client = Client(tells_requests=tells_requests)
    play(steps, client, None)
    assert client.found == []


@given(STEPS, st.booleans(), st.data())
def test_a_lost_data_frame_is_found_once(
    steps: list[tuple[str, int]], tells_requests: bool, data: st.DataObject
) -> None:
    """Whatever else was under way."""
    count = sum(what == "data" for what, _ in steps)
    dropped = data.draw(st.integers(0, count), label="data frame that is lost")
    client = Client(tells_requests=tells_requests)
    lost_number = play(steps, client, dropped)
    assert lost_number is not None
    assert [lost.count for lost in client.found] == [1]
    assert client.found[0].first <= lost_number
    assert not client.found[0].is_selection


@given(STEPS)
def test_an_import_does_not_show_requests_and_still_loses_nothing(steps: list[tuple[str, int]]) -> None:
    """A hole waits for as long as an answer may take."""
    client = Client(shows_requests=False)
    play(steps, client, None)
    assert client.found == []


@given(STEPS, st.data())
def test_an_import_shows_a_lost_frame_as_well(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    """Later, but once."""
    dropped = data.draw(st.integers(0, sum(what == "data" for what, _ in steps)))
    client = Client(shows_requests=False)
    assert play(steps, client, dropped) is not None
    assert [lost.count for lost in client.found] == [1]


def numbers_at(*steps: tuple[int, float]) -> tuple[MessageNumbers, list[Lost | None]]:
    """Frames with these numbers at these seconds, and what was found lost at each."""
    numbers = MessageNumbers()
    numbers.sent("subscribe", "other", "", 0, 0)
    numbers.answered("subscribe", "other", "")
    found = []
    for seq, (number, at_s) in enumerate(steps, 1):
        numbers.seen(number, seq, round(at_s * NS_PER_S))
        found.append(numbers.lost(round(at_s * NS_PER_S)))
    return numbers, found


def test_a_hole_is_given_a_few_seconds() -> None:
    """Then it is a loss, and after that no longer news."""
    _, found = numbers_at((0, 0.0), (2, 1.0), (3, 1.0 + GRACE_S - 0.001), (4, 1.0 + GRACE_S), (5, 60.0))
    assert found == [None, None, None, Lost(1, 1, False), None]


def test_a_hole_that_is_filled_in_time_is_none() -> None:
    """In two steps, from the middle."""
    _, found = numbers_at((0, 0.0), (4, 1.0), (2, 2.0), (1, 3.0), (3, 4.0), (5, 60.0))
    assert found == [None] * 6


def test_a_request_sent_later_owns_no_hole() -> None:
    """The number it gets is above all that were passed over before."""
    numbers = MessageNumbers()
    numbers.seen(0, 0, 0)
    numbers.seen(2, 1, 0)  # 1 never came
    numbers.sent("subscribe", "ch", "id", 2, 0)
    assert numbers.lost(0) is None
    assert numbers.lost(GRACE_S * NS_PER_S) == Lost(1, 1, False)


def test_a_request_without_an_answer_owns_its_hole_for_half_a_minute() -> None:
    """The venue gives up after 20 s."""
    numbers = MessageNumbers()
    numbers.seen(0, 0, 0)
    numbers.sent("subscribe", "ch", "id", 1, 0)
    numbers.seen(2, 2, NS_PER_S)
    assert numbers.lost(30 * NS_PER_S) is None
    assert numbers.lost(31 * NS_PER_S) is None
    assert numbers.lost(36 * NS_PER_S) == Lost(1, 1, False)


def test_a_number_out_of_all_proportion_costs_nothing() -> None:
    """A hole is kept as its ends."""
    _, found = numbers_at((0, 0.0), (2**53, 1.0), (2**53, 60.0))
    assert found == [None, None, Lost(2**53 - 1, 1, False)]


def test_a_capture_of_some_channels_is_told_from_a_loss() -> None:
    """Every other number missing is no forwarder that drops frames."""
    numbers = MessageNumbers()
    found = []
    for index in range(400):
        mono_ns = index * NS_PER_S // 10
        numbers.seen(index * 2, index, mono_ns)
        found.append(numbers.lost(mono_ns))
    assert [lost.is_selection for lost in found if lost is not None] == [True]
    assert numbers.is_whole


def test_an_error_beside_a_request_on_its_way_excuses_nothing_later() -> None:
    """It had no number of its own, and the one that it seemed to have is another's."""
    numbers = MessageNumbers()
    numbers.seen(0, 0, 0)
    numbers.sent("subscribe", "ch", "x", 1, 0)
    numbers.seen(2, 2, 0)
    numbers.refused(2, 3, 0)
    numbers.seen(1, 4, 0)
    numbers.answered("subscribe", "ch", "x")
    numbers.seen(4, 5, 0)
    assert numbers.lost(0) is None
    assert numbers.lost(GRACE_S * NS_PER_S) == Lost(1, 3, False)


def test_a_session_of_our_own_is_never_a_selection() -> None:
    """We have every frame that arrived, so what is missing was lost."""
    _, found = numbers_at(*((index * 2, index / 10) for index in range(100)))
    assert {lost.is_selection for lost in found if lost is not None} == {False}


def test_one_frame_of_few_is_a_loss() -> None:
    """However large a part of a short capture it is."""
    numbers = MessageNumbers()
    numbers.seen(0, 0, 0)
    numbers.seen(2, 1, 0)
    assert numbers.lost(30 * NS_PER_S) == Lost(1, 1, False)


def test_an_error_without_a_number_of_its_own_excuses_nothing() -> None:
    """It repeats the newest one; a frame that is lost afterwards is found."""
    numbers = MessageNumbers()
    numbers.sent("subscribe", "ch", "x", 0, 0)
    numbers.seen(0, 1, 0)
    numbers.seen(1, 2, 0)
    numbers.refused(1, 3, 0)
    numbers.answered("subscribe", "ch", "x")
    numbers.seen(3, 4, 0)
    assert numbers.lost(0) is None
    assert numbers.lost(GRACE_S * NS_PER_S) == Lost(1, 2, False)


@given(STEPS, st.integers(0, 60))
def test_a_checkpoint_goes_on_where_it_was(steps: list[tuple[str, int]], cut: int) -> None:
    """Restored in the middle, the numbers find the same."""

    class Forgetful(Client):
        def take(self, kind: str, number: int, request: int) -> None:
            if self.seq >= cut:
                self.numbers = MessageNumbers.restored(self.numbers.export())
            super().take(kind, number, request)

    plain, forgetful = Client(), Forgetful()
    play(steps, plain, 0)
    play(steps, forgetful, 0)
    assert forgetful.found == plain.found
    assert forgetful.numbers.export() == plain.numbers.export()


def test_connections_are_remembered_up_to_a_limit() -> None:
    """An import of a year holds thousands."""
    numbers = ConnectionNumbers()
    for index in range(1000):
        numbers.of(f"connection {index}").seen(5, 0, 0)
    kept, _ = numbers.export()
    assert len(kept) == 256
