"""What all venues' protocols share: connections, streams that fall silent, gaps, and frames that mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.tapes import SECOND, TS, Feed, one
from tests.toolkit.live_harness import TinyProtocol, quote
from toolkit.errors import ConfigError
from toolkit.frames import DAMAGED, REST_IN, WS_IN, WS_OUT, Frame
from toolkit.messages import BookSnapshot, EventKind, Message, StreamEvent
from toolkit.protocol import AccountsPart, ProtocolOptions, excerpt
from toolkit.venue import find_venue, venues


@pytest.fixture
def feed() -> Feed:
    protocol = TinyProtocol()
    protocol.limit_s = 5.0
    return Feed(protocol)


def kinds(messages: list[Any]) -> list[str]:
    return [message.kind if isinstance(message, StreamEvent) else type(message).__name__ for message in messages]


def test_the_first_frame_of_a_stream_is_no_end_of_a_gap(feed: Feed) -> None:
    assert kinds(feed.control("connected", role="main")) == ["connected"]
    assert kinds(feed.text(quote())) == ["BookSnapshot"]
    assert feed.protocol.role_of(0) == "main"


def test_a_lost_connection_makes_its_streams_stale_and_their_next_frame_tells_the_gap(feed: Feed) -> None:
    """From the last frame before it to the first after it, before anything else of that frame."""
    feed.control("connected", role="main")
    feed.text(quote())
    last = feed.now
    feed.now += SECOND
    lost, stale = feed.control("disconnected", code=1006, cause="disconnect", reason="")
    assert (lost.kind, lost.detail) == (EventKind.DISCONNECTED, "cause=disconnect, code=1006")
    assert (stale.kind, stale.symbol, stale.trading_pair, stale.stream) == (EventKind.STALE, "X", "X-USD", "full")
    assert (stale.cause, stale.ts_start, stale.sub_seq, lost.sub_seq) == ("disconnect", last, 1, 0)
    assert kinds(feed.control("disconnected")) == ["disconnected"]
    feed.now += SECOND
    feed.control("connected", role="main")
    gap, book = feed.text(quote())
    assert (gap.kind, gap.cause, gap.ts_start, gap.ts_end) == (EventKind.GAP, "disconnect", last, feed.now)
    assert (gap.sub_seq, book.sub_seq, type(book)) == (0, 1, BookSnapshot)
    assert kinds(feed.text(quote())) == ["BookSnapshot"]


def test_silence_is_told_once_and_ends_with_a_gap(feed: Feed) -> None:
    feed.control("connected", role="main")
    feed.text(quote())
    stale = one(feed.control("stale", symbol="X", stream="full", cause="silence"))
    assert (stale.kind, stale.cause) == (EventKind.STALE, "silence")
    assert feed.control("stale", symbol="X", stream="full", cause="silence") == []
    assert feed.control("stale", symbol="Y", stream="full", cause="silence") == []
    assert kinds(feed.text(quote())) == ["gap", "BookSnapshot"]


def test_a_stream_that_never_spoke_is_told_once(feed: Feed) -> None:
    feed.control("connected", role="main")
    missed = one(feed.control("stale", symbol="X", stream="full", cause="silence"))
    assert (missed.kind, missed.cause) == (EventKind.STALE, "no_data")
    assert feed.control("stale", symbol="X", stream="full", cause="silence") == []


def test_the_end_of_a_session_ends_everything_that_is_open(feed: Feed) -> None:
    """Streams that hold become stale, gaps that are open end, and the next session tells a gap from there."""
    feed.control("connected", role="main")
    feed.text(quote())
    feed.text(quote("Y"))
    feed.control("stale", symbol="Y", stream="full", cause="silence")
    silent_since = feed.now
    feed.now += SECOND
    end, stale, gap = feed.control("session_end", cause="stop")
    assert (end.kind, end.cause) == (EventKind.SESSION_END, "stop")
    assert (stale.kind, stale.symbol, stale.cause) == (EventKind.STALE, "X", "stop")
    assert (gap.kind, gap.symbol, gap.ts_start, gap.ts_end) == (EventKind.GAP, "Y", silent_since, feed.now)
    assert feed.protocol.role_of(0) == ""
    assert kinds(feed.control("session_end", cause="stop")) == ["session_end"]
    ended = feed.now
    feed.now += SECOND
    assert [(message.kind, message.ts_start) for message in feed.text(quote("Y"))[:1]] == [(EventKind.GAP, ended)]


@pytest.mark.parametrize(
    ("kind", "payload", "context", "detail"),
    [
        (WS_IN, b"[1]", None, r"expected an object in '[1]'"),
        (WS_IN, b"{", None, r"Input data was truncated in '{'"),
        (WS_IN, b"\xff{", None, "in '\ufffd{'"),
        (WS_IN, b"[" * 100_000, None, r"in '[[["),
        (REST_IN, b"{", '{"tag": "book:X", "status": 200}', "truncated"),
        (REST_IN, b"{}", "{", "truncated"),
        ("control", b"5", None, "Expected `object`, got `int` in '5'"),
        ("control", b'{"event": "nonsense"}', None, "unknown control event 'nonsense'"),
        (DAMAGED, b"12 {", None, "a damaged line of an imported file in '12 {'"),
        ("telegram", b"x", None, "unknown frame kind 'telegram' in 'x'"),
    ],
)
def test_a_frame_that_cannot_be_understood_is_one_event(
    feed: Feed, kind: str, payload: bytes, context: str | None, detail: str
) -> None:
    feed.control("connected", role="main")
    before = feed.protocol.checkpoint()
    event = one(feed.give(kind, payload, context=context))
    assert (event.kind, event.symbol, event.capture_seq) == (EventKind.PARSE_ERROR, "", 1)
    assert detail in event.detail
    assert "\n" not in event.detail
    assert feed.protocol.parse_error_count == 1
    assert feed.protocol.checkpoint() == before


def test_what_we_send_gives_no_message(feed: Feed) -> None:
    assert feed.give(WS_OUT, b"hello") == feed.give("rest_out", b"") == []


@pytest.mark.parametrize("event", ["gap", "lost", "clock_step", "backpressure", "notice", "session_start"])
def test_an_event_of_the_recorder_is_an_event_of_the_recording(feed: Feed, event: str) -> None:
    told = one(feed.control(event, conn_id=-1, cause="crash", ts_start=TS, ts_end=TS + 5, what="disk"))
    assert (told.kind, told.cause, told.ts_start, told.ts_end, told.conn_id) == (event, "crash", TS, TS + 5, -1)
    assert "what=disk" in told.detail


def test_requests_are_given_out_once(feed: Feed) -> None:
    protocol = feed.protocol
    assert isinstance(protocol, TinyProtocol)
    protocol.hello = (b"subscribe",)
    feed.control("connected", role="main")
    assert [request.text for request in protocol.requests()] == [b"subscribe"]  # type: ignore[union-attr]
    assert protocol.requests() == []


def test_an_excerpt_is_one_printable_line() -> None:
    assert excerpt(b"a\nb\x00") == r"'a\nb\x00'"
    assert excerpt(b"x" * 300) == repr("x" * 200 + "...")


@pytest.mark.parametrize("name", ["pairs", "channels", "accounts"])
def test_options_are_not_taken_letter_by_letter(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^{name} is the text 'BTC', expected a tuple of them, as in {name}=\('BTC',\)$"
    ):
        ProtocolOptions(**dict[str, Any]([(name, "BTC")]))


# The parts ------------------------------------------------------------------------------------------------------------


class Followed(AccountsPart):
    """Accounts on connections of the role `user`, with replies tagged `user`."""

    def __init__(self, *, reads_frames: bool) -> None:
        self.reads_frames = reads_frames
        self.calls: list[str] = []

    def has_role(self, role: str) -> bool:
        return role == "user"

    def subscribe(self, frame: Frame, role: str) -> None:
        self.calls.append("subscribe")

    def resubscribe(self, frame: Frame, role: str) -> None:
        self.calls.append("resubscribe")

    def on_text(self, frame: Frame) -> list[Message]:
        self.calls.append("text")
        return []

    def on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message] | None:
        self.calls.append("rest")
        return [] if context["tag"] == "user" else None

    def on_sent(self, frame: Frame) -> None:
        self.calls.append("sent")

    def disconnected(self, frame: Frame) -> None:
        self.calls.append("disconnected")

    def session_ended(self, frame: Frame, messages: list[Message]) -> None:
        self.calls.append(f"ended after {len(messages)}")


def followed(*, reads_frames: bool) -> tuple[TinyProtocol, Followed, Feed]:
    """A protocol with accounts, and its connections: 0 of the market, 1 of the accounts."""
    protocol = TinyProtocol()
    part = Followed(reads_frames=reads_frames)
    protocol.accounts = part
    feed = Feed(protocol)
    feed.control("connected", role="main")
    feed.control("connected", conn_id=1, role="user")
    return protocol, part, feed


def test_the_role_of_a_connection_says_which_part_it_is_of() -> None:
    protocol, part, feed = followed(reads_frames=True)
    assert part.calls == ["subscribe"]
    assert [stream.conn_id for stream in protocol.streams] == [0]
    assert kinds(feed.text(quote())) == ["BookSnapshot"]
    assert feed.text(quote(), conn_id=1) == []
    assert part.calls == ["subscribe", "text"]
    feed.sent(b"m")
    feed.sent(b"u", conn_id=1)
    assert protocol.sent == [b"m"]
    feed.control("resubscribe", conn_id=1)
    feed.control("resubscribe")
    assert part.calls == ["subscribe", "text", "sent", "sent", "resubscribe"]
    feed.control("disconnected", conn_id=1)
    feed.control("session_end")
    assert part.calls[-2:] == ["disconnected", "ended after 2"]


def test_a_part_may_leave_its_frames_to_the_market() -> None:
    """As where all frames of a venue are numbered together: one place reads them, and hands on what is the accounts'."""
    protocol, part, feed = followed(reads_frames=False)
    assert kinds(feed.text(quote(), conn_id=1)) == ["BookSnapshot"]
    feed.sent(b"u", conn_id=1)
    assert protocol.sent == [b"u"]
    assert part.calls == ["subscribe", "sent"]


def test_a_reply_is_of_the_part_that_reads_it() -> None:
    _, part, feed = followed(reads_frames=True)
    body = {"s": "X", "bid": 1, "ask": 2}
    assert feed.rest("user", body) == []
    assert kinds(feed.rest("book", body)) == ["BookSnapshot"]
    assert part.calls == ["subscribe", "rest", "rest"]


@pytest.mark.parametrize("venue", [name for name, spec in venues().items() if spec.has_accounts])
def test_a_protocol_has_its_accounts_as_a_part(venue: str) -> None:
    """It adds the part to the market's protocol and changes nothing else of it."""
    make = find_venue(venue).make_protocol
    assert isinstance(make, type)
    assert {name for name, value in vars(make).items() if callable(value)} <= {"__init__"}
    assert type(make(ProtocolOptions()).accounts) is not AccountsPart
