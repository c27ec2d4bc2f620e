"""Whatever a client sends, a served venue answers or closes as the venue would; it raises nothing and keeps nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from recordings.recording import Recording
from replay.serving.face import Ask, Unreadable, as_json, read_json
from replay.serving.registry import make_synthetic, served_venues, synthetic_venues
from replay.serving.served_venue import Client
from replay.synthetic.market import Market, MarketOptions
from tests.frame_tapes import deck_of
from tests.replay.serving.client_fuzz import asks, frames, words_of

#: The venues that a recording can be served as.
VENUES = list(served_venues())
#: Bytes that one frame or question is answered with at most: what the tapes here know is small.
ANSWER_MAX = 2_000_000


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    made: dict[str, Recording] = {}

    def make(venue: str) -> Recording:
        if venue not in made:
            folder = tmp_path_factory.mktemp(venue) / "tape"
            made[venue] = words_of(venue).make_tape(venue, folder)
        return made[venue]

    return make


def is_json(payload: bytes) -> bool:
    json.loads(payload)
    return True


def visit(deck: Any, venue: str) -> Client:
    client: Client = deck.connect(venue, 0, "127.0.0.1", words_of(venue).ws_path(venue), "")
    return client


def play(recording: Recording, venue: str, seed: int, count: int) -> None:
    """A client after another says such things, while the tape goes on."""
    rng = random.Random(seed)
    deck = deck_of(recording, loop=True)
    served = deck.venues[venue]
    client, now = visit(deck, venue), 0
    for number, (text, ask) in enumerate(zip(frames(venue, rng, count), asks(venue, rng, count), strict=True)):
        now += rng.choice([0, 10**9])
        deck.receive(client, text, now)
        said = client.take()
        assert all(map(is_json, said))
        assert sum(map(len, said)) < ANSWER_MAX
        reply = served.answer(ask, now)
        assert 200 <= reply.status < 600
        assert len(reply.body) < ANSWER_MAX
        if reply.content_type == "application/json":
            is_json(reply.body)
        if client.drop is not None or not rng.randrange(200):
            deck.disconnect(client)
            client = visit(deck, venue)
        if number % 5 == 0:
            deck.player.step_frame()
            client.take()
    deck.disconnect(client)
    assert not deck.clients


def play_synthetic(venue: str, seed: int, count: int) -> None:
    """The same before a synthetic market."""
    rng = random.Random(seed)
    market = Market(MarketOptions(seed=1, funding_history=10))
    face = make_synthetic(venue, market)
    now = market.block_time_ns(3)
    face.advance(now)
    path = words_of(venue).ws_path(venue)
    session = face.open("127.0.0.1", path, "", now)
    for text, ask in zip(frames(venue, rng, count), asks(venue, rng, count), strict=True):
        now += rng.choice([0, 10**9])
        if session is not None:
            session.receive(text, now)
            said = session.take()
            assert sum(map(len, said)) < ANSWER_MAX
        reply = face.answer(ask, now)
        assert 200 <= reply.status < 600
        assert len(reply.body) < ANSWER_MAX
        if session is None or any(each is session for each, _ in face.drops(now)):
            if session is not None:
                face.disconnect(session)
            session = face.open("127.0.0.1", path, "", now)


# Some by themselves ----------------------------------------------------------------------------------------------------

HUGE = "1" + "0" * 30
DEEP = "[" * 200 + "]" * 200
LONG = {"HUGE": HUGE, "DEEP": DEEP, "ZEROS": "0" * 400, "NINES": "9" * 3000}
#: Frames that raised something within a server once, or are like one that did; and what the venue says to it.
SAID: list[tuple[str, str, str]] = [
    ("hyperliquid", '{"method":"subscribe","subscription":{"type":[]}}', "Error parsing JSON"),
    ("hyperliquid", '{"method":"subscribe","subscription":{"type":{"a":1},"coin":"BTC"}}', "Error parsing JSON"),
    ("hyperliquid", '{"method":"post","id":HUGE,"request":{"type":"info","payload":{"type":"meta"}}}', "Error parsing JSON"),
    ("hyperliquid", '{"method":"post","id":1,"request":{"type":"info","payload":{"type":"userRole","user":"a","x":HUGE}}}', "error"),
    ("hyperliquid", '{"method":"post","id":1,"request":{"type":"info","payload":{"type":"meta","x":1ZEROS}}}', "Error parsing JSON"),
    ("hyperliquid", DEEP, "Error parsing JSON"),
    ("hyperliquid", '{"method":DEEP}', "Error parsing JSON"),
    ("hyperliquid", '{"method":"subscribe","subscription":{"type":"candle","coin":"BTC","interval":"NINES"}}', "Invalid subscription"),
    ("binance-usdm", '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":HUGE}', "request ID"),
    ("binance-usdm", '{"method":"SUBSCRIBE","params":DEEP,"id":1}', "Invalid JSON"),
    ("binance-usdm", '{"method":[],"id":1}', "unknown variant"),
    ("binance-spot", '{"method":"SET_PROPERTY","params":[{"a":[]},true],"id":1}', "Unknown property"),
    ("binance-spot", '{"method":"SUBSCRIBE","params":["x@trade",1ZEROS],"id":1}', "Invalid JSON"),
    ("dydx_v4", '{"type":"subscribe","channel":["v4_trades"],"id":"BTC-USD"}', "Invalid channel"),
    ("dydx_v4", '{"type":"subscribe","channel":"v4_trades","id":HUGE}', "Invalid id"),
    ("dydx_v4", '{"type":"subscribe","channel":"v4_trades","id":DEEP}', "could not parse"),
    ("dydx_v4", '{"type":"subscribe","channel":"v4_subaccounts","id":"dydx1n56z5fhmemtffzkt2eqyf9kuc7ycjfs86mvqy7/999999"}', "Invalid subscription id"),
]  # fmt: skip


@pytest.mark.parametrize(("venue", "text", "said"), SAID)
def test_it_is_answered_as_the_venue_would(venue: str, text: str, said: str, tape: Callable[[str], Recording]) -> None:
    deck = deck_of(tape(venue))
    client = visit(deck, venue)
    client.take()
    for word, meant in LONG.items():
        text = text.replace(word, meant)
    deck.receive(client, text, 0)
    (answer,) = client.take()
    assert said in answer.decode()


@pytest.mark.parametrize("field", ["nSigFigs", "mantissa"])
@pytest.mark.parametrize("value", ["0", "-1", "6", HUGE, "9" * 4000, "1" + "0" * 400])
def test_figures_of_any_size_close_the_connection_or_are_no_request(
    field: str, value: str, tape: Callable[[str], Recording]
) -> None:
    """What has room in 64 bits is a request for what there is not, which ends it without a word; the rest is no request."""
    deck = deck_of(tape("hyperliquid"))
    client = visit(deck, "hyperliquid")
    wanted = f'{{"type":"l2Book","coin":"BTC","{field}":{value}}}'
    deck.receive(client, f'{{"method":"subscribe","subscription":{wanted}}}', 0)
    answers = client.take()
    assert (client.drop is not None and not answers) == (len(value) < 5)
    assert all(b"Error parsing JSON" in answer or b"a request of" in answer for answer in answers)
    reply = deck.venues["hyperliquid"].answer(Ask("POST", "/info", {}, wanted.encode(), "application/json", ""), 0)
    # One that has no room is a float, which the field cannot be; one that is no number at all is no JSON.
    assert reply.status == (500 if len(value) < 5 else 422 if len(value) < 100 else 400)


@pytest.mark.parametrize(
    ("venue", "path", "query", "status"),
    [
        ("binance-usdm", "/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": "9" * 4000}, 400),
        ("binance-usdm", "/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "startTime": "9" * 19}, 503),
        ("binance-spot", "/api/v3/exchangeInfo", {"symbols": "[" * 4000}, 200),
        ("binance-spot", "/api/v3/exchangeInfo", {"symbols": "[" + DEEP + "]"}, 400),
        ("dydx_v4", "/v4/perpetualMarkets", {"limit": "9" * 4000}, 400),
        ("dydx_v4", "/v4/orders", {"address": "x" * 4000, "subaccountNumber": "9" * 4000}, 503),
    ],
)
def test_parameters_of_any_size_are_refused(
    venue: str, path: str, query: dict[str, str], status: int, tape: Callable[[str], Recording]
) -> None:
    reply = deck_of(tape(venue)).venues[venue].answer(Ask("GET", path, query, b"", "", ""), 0)
    assert reply.status == status, reply.body[:200]
    is_json(reply.body)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", float(2**64)),
        ("-9223372036854775809", float(-(2**63) - 1)),
        ('{"a":[1' + "0" * 25 + "]}", {"a": [1e25]}),
        ("[" * 128 + "]" * 128, None),
    ],
)
def test_what_is_read_can_be_written_again(text: str, value: Any) -> None:
    """A whole number beyond 64 bits is a float, as in the parsers of venues."""
    found = read_json(text)
    assert value is None or found == value
    assert read_json(as_json(found)) == found


@pytest.mark.parametrize(
    "text", ["", "{", "1" + "0" * 400, "1e400", "[" * 130 + "]" * 130, "[" * 100_000, b"\xff", "\x00"]
)
def test_what_no_venue_would_read_is_unreadable(text: str | bytes) -> None:
    with pytest.raises(Unreadable):
        read_json(text)


# Any ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", VENUES)
def test_a_client_may_send_anything(venue: str, tape: Callable[[str], Recording]) -> None:
    play(tape(venue), venue, 1, 120)


@pytest.mark.parametrize("venue", synthetic_venues())
def test_a_client_of_a_synthetic_market_may_send_anything(venue: str) -> None:
    play_synthetic(venue, 1, 120)


@pytest.mark.slow
@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("seed", range(3))
def test_many_clients_may_send_anything(venue: str, seed: int, tape: Callable[[str], Recording]) -> None:
    play(tape(venue), venue, 100 + seed, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("venue", synthetic_venues())
@pytest.mark.parametrize("seed", range(2))
def test_many_clients_of_a_synthetic_market_may_send_anything(venue: str, seed: int) -> None:
    play_synthetic(venue, 100 + seed, 2000)
