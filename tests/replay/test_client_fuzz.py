"""Whatever a client sends, a served venue answers or closes as the venue would; it raises nothing and keeps nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from recordings.recording import Recording
from replay.faces import FACES, make_face
from replay.serving.venue import Client
from replay.synthetic.market import Market, MarketOptions
from tests.frame_tapes import deck_of
from tests.replay.client_fuzz import asks, family, frames
from tests.replay.test_serving_binance import session
from tests.replay.test_serving_dydx import opening
from tests.serving import synthetic_session

#: The venues that a recording can be served as.
VENUES = ("hyperliquid", "binance-spot", "binance-usdm", "binance-coinm", "dydx_v4")
#: Bytes that one frame or question is answered with at most: what the tapes here know is small.
ANSWER_MAX = 2_000_000


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    made: dict[str, Recording] = {}

    def make(venue: str) -> Recording:
        if venue not in made:
            folder = tmp_path_factory.mktemp(venue) / "tape"
            match family(venue):
                case "hyperliquid":
                    made[venue], _ = synthetic_session(folder, seconds=2)
                case "binance":
                    made[venue] = session(venue).recording(folder)
                case _:
                    made[venue] = opening().recording(folder)
        return made[venue]

    return make


def is_json(payload: bytes) -> bool:
    json.loads(payload)
    return True


def visit(deck: Any, venue: str) -> Client:
    path = {"hyperliquid": "/ws", "binance": "/ws", "dydx": "/v4/ws"}[family(venue)]
    path = f"/public{path}" if venue in ("binance-usdm",) else path
    client: Client = deck.connect(venue, 0, "127.0.0.1", path, "")
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
    face = make_face(venue, market, None, None)
    now = market.block_time_ns(3)
    face.advance(now)
    path = {"hyperliquid": "/ws", "binance": "/public/ws", "dydx": "/v4/ws"}[family(venue)]
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


@pytest.mark.parametrize("venue", VENUES)
def test_a_client_may_send_anything(venue: str, tape: Callable[[str], Recording]) -> None:
    play(tape(venue), venue, 1, 120)


@pytest.mark.parametrize("venue", FACES)
def test_a_client_of_a_synthetic_market_may_send_anything(venue: str) -> None:
    play_synthetic(venue, 1, 120)


@pytest.mark.slow
@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("seed", range(4))
def test_many_clients_may_send_anything(venue: str, seed: int, tape: Callable[[str], Recording]) -> None:
    play(tape(venue), venue, 100 + seed, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("venue", FACES)
@pytest.mark.parametrize("seed", range(2))
def test_many_clients_of_a_synthetic_market_may_send_anything(venue: str, seed: int) -> None:
    play_synthetic(venue, 100 + seed, 2000)
