"""A tape played to clients, without sockets: who is sent what, who is closed and how, and where a seek leads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from replay.serving.deck import Deck, DeckOptions
from replay.serving.face import Drop
from replay.serving.registry import served_venues
from tests.frame_tapes import MS, Script, Visitor, deck_of, sealed, step
from tests.tapes import SECOND, TS, bbo_frame, mixed_tape
from tests.venue_tapes import tape_of_venues
from toolkit.clock import ManualClock
from toolkit.errors import ConfigError


def quote(script: Script, coin: str, number: int, conn_id: int = 0) -> bytes:
    return script.said(bbo_frame(coin, number, (10.0 + number, 1.0), (20.0 + number, 1.0)), conn_id)


def two_connections(end: str = "disconnected", **details: Any) -> Script:
    """BTC on one connection and ETH on another; the first is lost after two quotes, and made again before the last two."""
    script = Script()
    script.control("session_start", -1)
    for conn_id, coin in ((0, "BTC"), (1, "ETH")):
        script.control("connected", conn_id, role="main", url="")
        script.subscribed(conn_id, type="bbo", coin=coin)
    quote(script, "BTC", 1)
    quote(script, "ETH", 2, 1)
    script.control(end, **details)
    quote(script, "ETH", 3, 1)
    script.control("connected", 0, role="main", url="")
    quote(script, "BTC", 4)
    quote(script, "ETH", 5, 1)
    return script


def test_clients_are_sent_what_they_subscribed_byte_for_byte_in_order(tmp_path: Path) -> None:
    script = two_connections(code=1006)
    deck = deck_of(script.recording(tmp_path / "tape"), hides_disconnects=True)
    both, eth = Visitor(deck), Visitor(deck)
    for visitor, coins in ((both, ("BTC", "ETH")), (eth, ("ETH",))):
        for coin in coins:
            visitor.subscribe("bbo", coin=coin)
    deck.player.play()
    quotes = [frame.payload for frame in script.frames if b'"bbo"' in frame.payload and b'"time"' in frame.payload]
    assert both.heard() == quotes
    assert eth.heard() == [quotes[1], quotes[2], quotes[4]]
    assert deck.delivered_count == 8


def test_whoever_has_left_or_unsubscribed_is_sent_nothing_more(tmp_path: Path) -> None:
    deck = deck_of(two_connections(code=1006).recording(tmp_path / "tape"), hides_disconnects=True)
    gone, quiet = Visitor(deck), Visitor(deck)
    for visitor in (gone, quiet):
        visitor.subscribe("bbo", coin="ETH")
    deck.disconnect(gone.client)
    quiet.say({"method": "unsubscribe", "subscription": {"type": "bbo", "coin": "ETH"}})
    deck.player.play()
    assert (gone.heard(), quiet.heard()) == ([], [])


@pytest.mark.parametrize(
    ("details", "drop"),
    [
        ({"code": 1006}, Drop()),
        ({"code": 1012, "reason": "deploy"}, Drop(1012, "deploy")),
        ({"code": 4001, "reason": ""}, Drop(4001, "")),
        ({"code": 1005}, Drop()),
        ({}, Drop()),
    ],
)
def test_a_lost_connection_closes_those_it_fed_as_it_was_lost(
    tmp_path: Path, details: dict[str, Any], drop: Drop
) -> None:
    """Those who listen to nothing that came over it stay."""
    deck = deck_of(two_connections(**details).recording(tmp_path / "tape"))
    btc, eth, idle = Visitor(deck), Visitor(deck), Visitor(deck)
    btc.subscribe("bbo", coin="BTC")
    eth.subscribe("bbo", coin="ETH")
    deck.player.play()
    assert btc.client.drop == drop
    assert (eth.client.drop, idle.client.drop) == (None, None)
    assert deck.closed_by_tape == 1
    assert len(btc.heard()) == 1


def test_the_recorders_own_goodbye_closes_nobody(tmp_path: Path) -> None:
    """It is the end of the tape and nothing that the venue did."""
    deck = deck_of(two_connections(code=1000, cause="stop").recording(tmp_path / "tape"))
    btc = Visitor(deck)
    btc.subscribe("bbo", coin="BTC")
    deck.player.play()
    assert btc.client.drop is None


def test_between_a_lost_connection_and_the_next_a_stream_has_no_present(tmp_path: Path) -> None:
    """A client that comes then is sent nothing old as if it held."""
    script = two_connections(code=1006)
    deck = deck_of(script.recording(tmp_path / "tape"))
    lost = next(number for number, frame in enumerate(script.frames) if b'"disconnected"' in frame.payload)
    step(deck, lost)
    assert len(Visitor(deck).subscribe("bbo", coin="BTC")) == 2
    step(deck)
    late = Visitor(deck)
    assert len(late.subscribe("bbo", coin="BTC")) == 1
    assert len(Visitor(deck).subscribe("bbo", coin="ETH")) == 2
    deck.player.play()
    assert late.heard() == [script.frames[-2].payload]


def test_a_session_that_begins_where_none_was_running_closes_who_heard_of_the_last(tmp_path: Path) -> None:
    script = Script()
    for number in range(2):
        script.control("session_start", -1)
        script.control("connected", number, role="main", url="")
        script.subscribed(number, type="bbo", coin="BTC")
        quote(script, "BTC", number, number)
        script.control("disconnected", number, role="main", code=1000, cause="stop")
        script.control("session_end", -1, cause="stop")
    deck = deck_of(script.recording(tmp_path / "tape"))
    btc = Visitor(deck)
    btc.subscribe("bbo", coin="BTC")
    step(deck, len(script.frames) // 2)
    assert btc.client.drop is None
    step(deck)
    assert btc.client.drop == Drop()


def test_a_hole_between_recordings_closes_those_of_its_venue(tmp_path: Path) -> None:
    tapes = []
    for number in range(2):
        script = Script(now=TS + number * 100 * SECOND)
        quote(script, "BTC", number)
        tapes.append(script.recording(tmp_path / str(number)))
    deck = deck_of(*tapes)
    btc = Visitor(deck)
    btc.subscribe("bbo", coin="BTC")
    deck.player.play()
    assert btc.client.drop == Drop()
    assert len(btc.heard()) == 1


def test_connections_of_two_recordings_are_told_apart(tmp_path: Path) -> None:
    """Both have a connection 0: losing that of the first does not close who was fed by that of the second."""
    first, second = Script(), Script(now=TS + MS // 2)
    quote(first, "BTC", 1)
    quote(second, "ETH", 2)
    first.control("disconnected", role="main", code=1006)
    quote(second, "ETH", 3)
    deck = deck_of(first.recording(tmp_path / "first"), second.recording(tmp_path / "second"))
    btc, eth = Visitor(deck), Visitor(deck)
    btc.subscribe("bbo", coin="BTC")
    eth.subscribe("bbo", coin="ETH")
    deck.player.play()
    assert btc.client.drop == Drop()
    assert eth.client.drop is None
    assert len(eth.heard()) == 2


@pytest.mark.parametrize("hides", [False, True])
def test_a_seek_closes_who_heard_of_another_time(tmp_path: Path, hides: bool) -> None:
    """And what it passes over is sent to nobody."""
    script = two_connections(code=1006)
    deck = deck_of(script.recording(tmp_path / "tape"), hides_disconnects=hides)
    btc = Visitor(deck)
    btc.subscribe("bbo", coin="BTC")
    deck.seek(script.frames[-1].ts_recv)
    assert btc.client.drop == (None if hides else Drop())
    assert btc.heard() == []
    _, first = Visitor(deck).subscribe("bbo", coin="BTC")
    assert first["data"]["time"] == 4


@pytest.mark.parametrize("offset", [0, 3, 41, 120, 239])
def test_the_state_after_a_seek_is_that_of_playing_from_the_start(tmp_path: Path, offset: int) -> None:
    """What a new subscriber is sent first says which state it is."""
    tape = mixed_tape(tmp_path / "tape")
    played, sought = deck_of(tape), deck_of(tape)
    step(played, offset)
    sought.player.seek(TS + offset)
    back = deck_of(tape, start_ns=TS + offset)
    answers = [first_frames(deck) for deck in (played, sought, back)]
    assert answers[0] == answers[1] == answers[2]
    played.player.play()
    played.seek(TS + offset)
    assert first_frames(played) == answers[0]


@pytest.mark.parametrize("begin", [0, 1, 41, 121, 150])
def test_a_seek_to_a_later_time_goes_on_from_here(tmp_path: Path, begin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the state, and to the rest of the tape, that a seek from the beginning comes to."""
    tape = mixed_tape(tmp_path / "tape")
    for offset in (40, 120, 239):
        fresh, moved = deck_of(tape), deck_of(tape)
        fresh.player.seek(TS + offset)
        step(moved, begin)
        opened: list[int] = []
        monkeypatch.setattr(moved.player, "_open_at", functools.partial(_noted, opened, moved.player._open_at))
        moved.seek(TS + offset)
        assert bool(opened) == (begin == 0 or offset <= begin - 1)
        assert first_frames(fresh) == first_frames(moved)
        visitors = Visitor(fresh), Visitor(moved)
        for visitor in visitors:
            visitor.subscribe("trades", coin="BTC")
        fresh.player.play()
        moved.player.play()
        assert visitors[0].heard() == visitors[1].heard()


def _noted(opened: list[int], open_at: Callable[[int], None], ns: int) -> None:
    opened.append(ns)
    open_at(ns)


def first_frames(deck: Any) -> list[Any]:
    visitor = Visitor(deck)
    coins = ("BTC", "ETH", "PURR/USDC")
    return [visitor.subscribe(kind, coin=coin)[1:] for kind in ("l2Book", "trades", "bbo") for coin in coins]


def test_beginning_again_is_going_elsewhere(tmp_path: Path) -> None:
    script = Script()
    quote(script, "BTC", 1)
    quote(script, "BTC", 2)
    deck = deck_of(script.recording(tmp_path / "tape"), loop=True)
    btc = Visitor(deck)
    btc.subscribe("bbo", coin="BTC")
    for _ in range(2):
        step(deck)
    assert btc.client.drop is None
    deck.player.seek(script.frames[0].ts_recv)
    assert btc.client.drop == Drop()
    assert len(Visitor(deck).subscribe("bbo", coin="BTC")) == 1


def test_a_venue_that_cannot_be_served_is_named(tmp_path: Path) -> None:
    recording = Recording.open(mixed_tape(tmp_path / "tape").path)
    recording.manifest.sources[0] = type(recording.manifest.sources[0])("elsewhere", 1, ())
    with pytest.raises(
        ConfigError, match=r"^elsewhere cannot be served; expected a recording of one of binance-coinm, "
    ):
        deck_of(recording)


def test_frames_that_are_missing_close_whoever_listens(tmp_path: Path) -> None:
    """Of any venue and stream: what was served before the hole need not hold behind it."""
    script = Script()
    for number in range(8):
        quote(script, "BTC", number)
    deck = deck_of(sealed(tmp_path / "tape", [*script.frames[:3], *script.frames[5:]]))
    early, late = Visitor(deck), Visitor(deck)
    early.subscribe("bbo", coin="BTC")
    step(deck, 3)
    assert (early.client.drop, len(early.heard())) == (None, 3)
    step(deck)
    assert early.client.drop == Drop()
    assert late.subscribe("bbo", coin="BTC")[-1]["channel"] == "subscriptionResponse", "and no book of before"
    deck.player.play()
    assert (late.client.drop, len(late.heard())) == (None, 3)


def test_of_several_venues_only_those_asked_for_are_served(tmp_path: Path) -> None:
    """Nothing of the others is on the tape, and an unknown one is an error that names those there are."""
    tape = tape_of_venues(tmp_path / "tape", ("dydx_v4", "hyperliquid"))
    deck = Deck([tape], served_venues(), pacer=ManualClock(), options=DeckOptions(venues=("dydx_v4",)))
    assert list(deck.venues) == ["dydx_v4"]
    assert {frame.venue for batch in deck.tape.batches(deck.fused_forms) for frame in batch.messages} == {"dydx_v4"}
    with pytest.raises(ConfigError, match=r"^no venue 'kraken' in .*, expected one of dydx_v4, hyperliquid$"):
        Deck([tape], served_venues(), pacer=ManualClock(), options=DeckOptions(venues=("kraken",)))
