"""What every venue's protocol has to keep. A new venue is tried by all of it once its folders are there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recordings.states.normalizer import Normalizer
from replay.serving.registry import served_venues, synthetic_venues
from replay.source import ReplayDataSource
from tests.conformance.sessions import Session, recorded
from toolkit.books.tracker import OrderBookTracker
from toolkit.errors import ConfigError, SymbolError, TickdeckError
from toolkit.frames import CONTROL, REST_IN, WS_IN, Frame, control_payload
from toolkit.messages import (
    BestQuote,
    BookDiff,
    BookSnapshot,
    EventKind,
    FundingInfo,
    Instrument,
    InstrumentKind,
    Message,
    StreamEvent,
    Trade,
)
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue, venues

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=list(venues()))
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    venue = str(request.param)
    return recorded(venue, tmp_path_factory.mktemp(venue) / "recording")


def inserted(session: Session, payload: bytes) -> Frame:
    """A frame that was received just before the one in the middle of the session."""
    before = session.frames[session.market_frame - 1]
    return msgspec.structs.replace(
        session.frames[session.market_frame],
        payload=payload,
        kind=WS_IN,
        ts_recv=before.ts_recv,
        ts_mono=before.ts_mono,
    )


def kinds_of(messages: Iterable[Message]) -> list[EventKind | type[Message]]:
    """Kinds of events, and classes of what is no event."""
    return [message.kind if isinstance(message, StreamEvent) else type(message) for message in messages]


def test_every_venue_is_tried() -> None:
    """A venue that has only one of its two folders would pass by not being looked at."""
    assert set(venues()) == set(served_venues()) == set(synthetic_venues())


@pytest.mark.parametrize("name", list(venues()))
def test_a_venue_says_what_it_is(name: str) -> None:
    """Default channels exist, URLs are TLS, limits are positive."""
    spec = find_venue(name)
    assert spec.name == name
    assert spec.ws_url.startswith("wss://")
    assert spec.rest_url.startswith("https://")
    assert set(spec.default_channels) <= set(spec.channels)
    assert spec.default_channels
    assert min(spec.limits.connections_max, spec.limits.connects_per_minute, spec.limits.frame_bytes_max) > 0
    assert spec.make_protocol(ProtocolOptions()).venue == name


def refusal(name: str, channel: str) -> str:
    """What a venue says against a channel; empty if it takes it."""
    try:
        find_venue(name).make_protocol(ProtocolOptions(pairs=("BTC-USD",), channels=(channel,)))
    except ConfigError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize("name", list(venues()))
def test_the_channels_that_a_venue_names_can_be_asked_for(name: str) -> None:
    """And the error about another one names them all; of those with a parameter (agg:N) by what it begins with."""
    unknown = refusal(name, "nonsense")
    assert "expected one of" in unknown
    for channel in find_venue(name).channels:
        head, _, parameter = channel.partition(":")
        assert head in unknown
        # One that asks for an account is known all the same.
        assert parameter or "expected one of" not in refusal(name, channel)


@pytest.mark.parametrize("name", list(venues()))
def test_an_unknown_channel_is_one_clear_error(name: str) -> None:
    """Typed, naming what was found, before anything is sent."""
    with pytest.raises(ConfigError, match="nonsense"):
        find_venue(name).make_protocol(ProtocolOptions(pairs=("BTC-USD",), channels=("nonsense",)))


def test_a_session_has_books_and_trades_and_no_parse_error(session: Session) -> None:
    """What the venue sends is understood; what a backtester needs is there."""
    messages = session.messages
    kinds = {type(message) for message in messages}
    assert BookSnapshot in kinds
    assert Trade in kinds
    errors = [m.detail for m in messages if isinstance(m, StreamEvent) and m.kind is EventKind.PARSE_ERROR]
    assert errors == []


def test_live_sessions_describe_their_instruments_and_funding(session: Session) -> None:
    """Metadata is a message like any other."""
    messages = session.messages
    kinds = {message.symbol: message.kind for message in messages if isinstance(message, Instrument)}
    described = kinds.keys()
    booked = {message.symbol for message in messages if isinstance(message, BookSnapshot)}
    assert booked <= described
    funded = {message.symbol for message in messages if isinstance(message, FundingInfo) and message.index_price}
    assert bool(funded) is any(kinds[symbol] is InstrumentKind.PERPETUAL for symbol in booked)


def test_messages_are_numbered_by_their_frame_and_row(session: Session) -> None:
    """`(capture_seq, sub_seq)` rises strictly, a message of n rows taking n numbers."""
    expected = (-1, 0)
    for message in session.messages:
        if message.capture_seq != expected[0]:
            expected = (message.capture_seq, 0)
        assert (message.capture_seq, message.sub_seq) == expected
        expected = (message.capture_seq, message.sub_seq + message.row_count)


def test_messages_carry_their_frame_s_time_and_the_venue_s_own(session: Session) -> None:
    """The local clock is never taken for the venue's time."""
    by_seq = {frame.capture_seq: frame for frame in session.frames}
    for message in session.messages:
        assert message.venue == session.venue
        assert message.ts_recv == by_seq[message.capture_seq].ts_recv
        assert message.ts_event is None or message.ts_event % 1_000 == 0  # no venue gives nanoseconds


def test_symbols_map_to_pairs_and_back(session: Session) -> None:
    """Both ways, for every symbol heard of; a name nobody listed is a SymbolError."""
    protocol = session.in_full_swing()
    symbols = {message.symbol for message in session.messages if message.symbol}
    assert symbols
    for symbol in symbols:
        assert protocol.symbol(protocol.trading_pair(symbol)) == symbol
        assert protocol.symbol(symbol) == symbol
    pairs = [protocol.trading_pair(symbol) for symbol in symbols]
    assert len(set(pairs)) == len(pairs)
    with pytest.raises(SymbolError):
        protocol.symbol("no such pair")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60), st.text(max_size=60).map(str.encode), st.sampled_from([b"[]", b"{", b"null", b"7"])
    )
)
@example(b"")
@example(b"pong")
def test_garbage_changes_nothing_but_one_parse_error(session: Session, garbage: bytes) -> None:
    """One event for the frame, neither none nor two, never an exception, and every later message as without it."""
    protocol = session.in_full_swing()
    assert kinds_of(protocol.receive(inserted(session, garbage))) == [EventKind.PARSE_ERROR]
    later = session.frames[session.market_frame :]
    assert tuple(message for frame in later for message in protocol.receive(frame)) == session.later


@pytest.mark.parametrize("wrong", [b'{"channel":[]}', b'{"stream":3,"data":{}}', b'{"type":{},"channel":1}'])
def test_wrong_types_are_one_parse_error(session: Session, wrong: bytes) -> None:
    """Objects of a shape no venue sends are reported, not passed over and not raised."""
    assert kinds_of(session.in_full_swing().receive(inserted(session, wrong))) == [EventKind.PARSE_ERROR]


def test_a_truncated_frame_is_a_parse_error(session: Session) -> None:
    """Half a frame says nothing and stops nothing."""
    payload = session.frames[session.market_frame].payload
    half = inserted(session, payload[: len(payload) // 2])
    assert kinds_of(session.in_full_swing().receive(half)) == [EventKind.PARSE_ERROR]


def test_a_lost_connection_makes_its_books_stale_until_they_come_again(session: Session) -> None:
    """Disconnected: STALE for each of its streams and a stale book; the first word after it: a GAP with both ends."""
    place = session.market_frame
    protocol, tracker = session.in_full_swing(), OrderBookTracker()
    for message in session.messages:
        if message.capture_seq < session.frames[place].capture_seq:
            tracker.apply(message)
    carries_a_book = next(stream for stream in protocol.streams if stream.is_live and stream.stream == "full")
    lost = msgspec.structs.replace(
        session.frames[place],
        kind=CONTROL,
        conn_id=carries_a_book.conn_id,
        payload=control_payload("disconnected", code=1006),
        context=None,
    )
    events = protocol.receive(lost)
    for event in events:
        tracker.apply(event)
    stale = [event for event in events if isinstance(event, StreamEvent) and event.kind is EventKind.STALE]
    assert stale
    assert all(event.cause == "disconnect" and event.ts_start and event.symbol for event in stale)
    for event in stale:
        if event.stream == "full":
            assert tracker.book(event.trading_pair).is_stale
    later = [message for frame in session.frames[place:] for message in protocol.receive(frame)]
    gaps = [event for event in later if isinstance(event, StreamEvent) and event.kind is EventKind.GAP]
    assert sorted((gap.symbol, gap.stream) for gap in gaps) == sorted((event.symbol, event.stream) for event in stale)
    assert all(gap.ts_start is not None and gap.ts_end is not None for gap in gaps)


def test_a_silent_stream_is_stale_once(session: Session) -> None:
    """The watchdog's frame marks one stream, and a second one about it says nothing."""
    place = session.market_frame
    protocol = session.in_full_swing()
    stream = next(stream for stream in protocol.streams if stream.is_live and stream.symbol)
    payload = control_payload("stale", symbol=stream.symbol, stream=stream.stream, silence_s=9.0, cause="silence")
    frame = msgspec.structs.replace(session.frames[place], kind=CONTROL, payload=payload, context=None)
    events = protocol.receive(frame)
    assert [(e.kind, e.symbol, e.stream) for e in events if isinstance(e, StreamEvent)] == [
        (EventKind.STALE, stream.symbol, stream.stream)
    ]
    assert protocol.receive(frame) == []


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_checkpoint_anywhere_continues_alike(session: Session, data: st.DataObject) -> None:
    """Stopped after any frame and restored into a fresh protocol, the rest is the same."""
    place = data.draw(st.integers(0, len(session.frames)))
    protocol = session.protocol()
    for frame in session.frames[:place]:
        protocol.receive(frame)
    again = session.protocol()
    again.restore(protocol.checkpoint())
    assert again.checkpoint() == protocol.checkpoint()
    for frame in session.frames[place:]:
        assert again.receive(frame) == protocol.receive(frame)


def test_live_equals_replay_both_ways(session: Session) -> None:
    """One digest: recorded, of the raw frames, of the normalized rows."""
    manifest = session.recording.manifest
    for fidelity in ("raw", "normalized"):
        source = ReplayDataSource(
            session.recording, fidelity="raw" if fidelity == "raw" else "normalized", with_digest=True
        )
        source.play()
        assert source.chain is not None
        assert source.chain.hexdigest() == manifest.digest
    assert manifest.live_digest in (None, manifest.digest)


def test_the_digest_does_not_depend_on_the_hash_seed(session: Session) -> None:
    """In another process, under another seed than the one of this process, which made the recording."""
    program = (
        "import sys; from replay.source import ReplayDataSource\n"
        "s = ReplayDataSource(sys.argv[1], fidelity='raw', with_digest=True); s.play(); print(s.chain.hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(session.recording.path)],
        env={**os.environ, "PYTHONHASHSEED": "0" if os.environ.get("PYTHONHASHSEED") == "4711" else "4711"},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == session.recording.manifest.digest


def test_prices_and_sizes_are_what_the_venue_wrote(session: Session) -> None:
    """
    Every price and size of a message stands in the text of its frame: nothing is scaled, rounded or cut to 32 bits.

    A diff that had to wait for its snapshot leaves with the snapshot's frame, so earlier frames count too.
    """
    protocol = session.protocol()
    written: set[float] = set()
    checked = 0
    for frame in session.frames:
        messages = protocol.receive(frame)
        if frame.kind in (WS_IN, REST_IN):
            written |= _numbers(frame.payload)
        for message in messages:
            values = _market_values(message)
            assert values <= written, (message.capture_seq, values - written)
            checked += len(values)
    assert checked > 100


def _market_values(message: Message) -> set[float]:
    match message:
        case BookSnapshot() | BookDiff():
            return {*message.bid_prices, *message.bid_sizes, *message.ask_prices, *message.ask_sizes}
        case Trade():
            return {message.price, message.size}
        case BestQuote():
            quoted = (message.bid_price, message.bid_size, message.ask_price, message.ask_size)
            return {value for value in quoted if value is not None}
        case _:
            return set()


def _numbers(payload: bytes) -> set[float]:
    numbers: set[float] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            try:
                numbers.add(float(value))
            except ValueError:
                return
        elif isinstance(value, int | float):
            numbers.add(float(value))

    walk(msgspec.json.decode(payload))
    return numbers


def test_a_frame_of_a_venue_that_is_not_recorded_is_refused(session: Session) -> None:
    """Frames go to their own venue's protocol or nowhere."""
    normalizer = Normalizer({session.venue: session.protocol()})
    with pytest.raises(TickdeckError, match="elsewhere"):
        normalizer.messages(msgspec.structs.replace(session.frames[0], venue="elsewhere"))


def test_shared_code_names_no_venue() -> None:
    """Only in the two rooms of venues is one named; examples in help and docstrings have a name, since a user has one."""
    folders = [path.name for path in (ROOT / "toolkit" / "venues").iterdir() if (path / "__init__.py").is_file()]
    names = {folder.partition("_")[0] for folder in folders}
    assert len(names) >= 3
    rooms = ("toolkit/venues/", "replay/serving/venues/")
    found = []
    for package in ("tickdeck", "toolkit", "recordings", "replay", "analysis"):
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            if relative.startswith(rooms):
                continue
            text = path.read_text()
            if not any(name in text.lower() for name in names):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Constant | ast.Name | ast.ImportFrom | ast.Import):
                    found += [f"{relative}:{node.lineno}" for name in names if name in _code_words(node)]
    assert found == []


def _code_words(node: ast.AST) -> str:
    match node:
        case ast.Name(id=word):
            return word.lower()
        case ast.ImportFrom(module=module):
            return module or ""
        case ast.Import(names=names):
            return " ".join(alias.name for alias in names)
        case ast.Constant(value=str(text)) if "\n" not in text and " " not in text:
            return text.lower()
        case _:
            return ""
