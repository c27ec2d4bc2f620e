"""Compiled code makes of frames exactly what the protocol makes of them, however they are damaged, cut and mixed."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest

from recordings.importing.capture_files import CaptureFile
from recordings.states.normalizer import Normalizer
from tests.fuzz.hyperliquid_frames import TEXTS, VENUE, Session, hyperliquid_session
from tests.fuzz.mutations import mutated
from tests.recordings.batch_tapes import Outcome, by_batch, one_by_one
from toolkit.books import book_fusion
from toolkit.frames import WS_IN, Frame
from toolkit.kernels import fusion, fusion_state
from toolkit.kernels.run_taker import Rest
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue
from toolkit.venues.hyperliquid import columnar, kernel_run, kernel_state, trade_tape

CAPTURES = {
    "archive_20240101_12_l2Book_BTC.lz4": "archive",
    "outcome_markets_2026/ws_l2book.jsonl": "jsonl",
    "outcome_markets_2026/ws_bbo.jsonl": "jsonl",
    "outcome_markets_2026/ws_trades.jsonl": "jsonl",
}


def both(
    frames: Sequence[Frame], cuts: Sequence[int] = (), options: ProtocolOptions | None = None
) -> tuple[Outcome, int]:
    """The one outcome of both ways, and how many frames compiled code took."""
    with tempfile.TemporaryDirectory() as folder:
        expected = one_by_one(Path(folder, "plain"), [VENUE], frames, options)
        found, taken = by_batch(Path(folder, "batch"), [VENUE], frames, cuts, options)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == theirs
    return found, taken


@pytest.mark.parametrize("name", CAPTURES)
def test_captures_of_books_quotes_and_trades_come_out_the_same(shared_data: Path, name: str) -> None:
    """Nearly every frame is taken by compiled code, else this tests nothing."""
    path = shared_data / "hyperliquid" / name
    if not path.is_file():
        pytest.skip(f"no capture {path}")
    lines = list(islice(CaptureFile(path, CAPTURES[name]), 700))
    frames = [
        Frame(number, line.ts_recv or 0, line.ts_recv or 0, VENUE, 0, 0, WS_IN, line.payload)
        for number, line in enumerate(lines)
    ]
    _, taken = both(frames, range(0, len(frames), 301))
    assert taken > 0.98 * len(frames)


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 40))])
def test_whatever_happens_in_a_session_of_books_comes_out_the_same(seed: int) -> None:
    """Late and early forms, clocks that are set, silence, reconnects, subscriptions, repeated trades, frames that are changed."""
    rng = random.Random(f"columnar {seed}")
    frames = hyperliquid_session(rng, 260)
    if seed % 2:
        frames = mutated(rng, frames, TEXTS, "BTC")
    options = ProtocolOptions(pairs=("BTC", "kPEPE")) if seed % 3 == 0 else None
    with patch.multiple(Rest, FRAMES_MIN=0, FRAMES_MAX=0):
        both(frames, sorted(rng.sample(range(260), seed % 5)), options)


def calm(seed: int = 1, *, is_live: bool = False) -> Session:
    """Two coins whose books, quotes and trades were heard, after which nothing is out of the ordinary."""
    session = Session(random.Random(seed), is_live=is_live)
    session.lags = (0, 0)
    for _ in range(4):
        for coin in session.coins:
            session.now_ms += 100
            session.book(coin, is_fast=False)
            session.book(coin, is_fast=True)
            session.quote(coin)
            session.trades(coin)
    return session


def test_a_calm_session_of_books_is_taken_by_compiled_code() -> None:
    """Only what comes first of each stream is not."""
    session = calm()
    _, taken = both(session.frames)
    assert taken >= len(session.frames) - 5 * len(session.coins)


@pytest.mark.parametrize("start", range(0, len(TEXTS), 6))
def test_a_frame_that_says_nearly_the_same_comes_out_the_same(start: int) -> None:
    """In the middle of compiled runs, in every channel, one change after the other."""
    session = calm()
    begin = len(session.frames)
    for old, new in TEXTS[start : start + 6]:
        for coin in session.coins[:2]:
            session.now_ms += 80
            for add in (session.quote, session.trades, lambda coin: session.book(coin, is_fast=True)):
                add(coin)
                frame = session.frames[-1]
                session.frames[-1] = msgspec.structs.replace(frame, payload=frame.payload.replace(old, new, 1))
                add(coin)
    both(session.frames, [begin + 1])


@pytest.mark.parametrize("lag_ms", [0, 400, 2_500, 29_000, 31_000, -2_500])
@pytest.mark.parametrize("slow", ["full", "fast"])
def test_a_book_that_is_late_is_put_in_its_place_as_the_tracker_does(slow: str, lag_ms: int) -> None:
    """A form that is behind or ahead of the quotes, by so much that stamps are doubted too; then the next one of it."""
    session = calm()
    rng, coin = session.rng, session.coins[0]
    for number in range(30):
        session.now_ms += 70
        coin.middle += rng.randint(-2, 2)
        session.quote(coin)
        if number % 6 == 5:
            session.lags = (lag_ms,)
            session.book(coin, is_fast=slow == "fast")
            session.lags = (0,)
    _, taken = both(session.frames, [len(session.frames) - 9])
    assert taken > 0.5 * len(session.frames)


def test_a_price_that_runs_one_way_keeps_more_than_there_is_room_for() -> None:
    """Each quote settles less than the one before, so all are kept, until the protocol has to keep them."""
    session = calm()
    coin = session.coins[0]
    for _ in range(2 * fusion.SLOTS):
        session.now_ms += 70
        coin.middle += 5
        bid, ask = (f'{{"px":"{coin.middle + sign}.0","sz":"1.0","n":1}}' for sign in (-1, 1))
        session.send("bbo", f'{{"coin":"{coin.name}","time":{session.now_ms},"bbo":[{bid},{ask}]}}')
    for _ in range(2):
        session.lags = (9_000,)
        session.book(coin, is_fast=True)
    both(session.frames)


@pytest.mark.parametrize("back", [1, 5, 40])
def test_a_trade_that_was_reported_is_told_as_such(back: int) -> None:
    """Within a frame, across frames, and across what compiled code and the protocol have read."""
    session = calm()
    coin = session.coins[0]
    for number in range(60):
        session.now_ms += 50
        session.trades(coin)
        if number % 20 == 19:
            again = next(frame for frame in session.frames[-back:] if b'"trades"' in frame.payload)
            session.add(again.payload)
            session.acknowledged(coin)
    found, _ = both(session.frames, [70])
    assert found[0][1]["trades_duplicate"] > 0


def test_old_trades_are_forgotten_at_the_same_time_either_way() -> None:
    """Of a quiet coin the newest are kept, of a busy one those of the last seconds, and never more than so many."""
    session = calm()
    coin = session.coins[0]
    for pace in (700, 0, 3):
        for _ in range(150):
            session.now_ms += pace
            session.trades(coin)
    both(session.frames, [200])


def test_what_has_no_book_in_it_leaves_the_books_where_they_are() -> None:
    """Contexts and pongs come every second: if they unloaded a book, that would take longer than it."""
    session = calm(is_live=True)
    for coin in session.coins:
        for _ in range(20):
            session.now_ms += 50
            session.context(coin)
            session.pong(coin)
            session.rates(coin)
            session.quote(coin)
    loads = 0
    load = fusion_state.load_book

    def counted(*arguments: object) -> object:
        nonlocal loads
        loads += 1
        return load(*arguments)  # type: ignore[arg-type]

    with patch.object(columnar, "load_book", counted):
        both(session.frames)
    # The first frames of each form are the protocol's; the settled rate of a coin is asked for once.
    assert loads < 60


def test_compiled_code_goes_by_the_rules_of_those_that_it_stands_for() -> None:
    assert (fusion.LATE_NS, fusion.LEAP_NS, fusion.ROUND) == (
        book_fusion.LATE_NS_MAX,
        book_fusion.LEAP_NS_MAX,
        book_fusion.ROUND,
    )
    assert fusion.SLOTS < book_fusion.KEPT_MAX  # more are given up at the end of a round
    assert kernel_run.BATCH_NS_MAX == trade_tape.BATCH_NS_MAX
    assert kernel_run.TRADES_REMEMBERED == trade_tape.TRADES_REMEMBERED
    assert kernel_run.REMEMBERED_MS == trade_tape.REMEMBERED_MS
    assert kernel_state.SEEN_MAX == trade_tape.TRADES_REMEMBERED_MAX


def test_pairs_that_metadata_spells_otherwise_are_those_of_the_protocol() -> None:
    """The arrays begin again with it."""
    session = calm()
    session.coins[0].name = "@107"
    for _ in range(3):
        for each in (session.quote, session.trades):
            session.now_ms += 50
            each(session.coins[0])
    tokens = [{"name": "HYPE", "index": 1, "szDecimals": 2}, {"name": "USDC", "index": 0, "szDecimals": 8}]
    body = {"tokens": tokens, "universe": [{"name": "@107", "index": 107, "tokens": [1, 0], "isCanonical": False}]}
    context = '{"tag":"spotMeta","status":200}'
    session.add(msgspec.json.encode(body), "rest_in", -1, context)
    for _ in range(3):
        for each in (session.quote, session.trades):
            session.now_ms += 50
            each(session.coins[0])
    both(session.frames)


def test_each_coin_is_compiled_code_s_own_among_many() -> None:
    """Names are looked up in a table that grows."""
    session = calm()
    names = [f"C{number}" for number in range(70)]
    for _ in range(3):
        for name in names:
            session.now_ms += 5
            session.coins[0].name = name
            session.quote(session.coins[0])
            session.book(session.coins[0], is_fast=False)
    _, taken = both(session.frames, [100])
    assert taken > 2 * len(names)


def test_the_taker_is_found_by_the_name_of_its_code() -> None:
    normalizer = Normalizer({VENUE: find_venue(VENUE).make_protocol(ProtocolOptions())})
    assert normalizer.kernel_sets == {"ready-hyperliquid"}
