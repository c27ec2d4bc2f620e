"""A pair in finer steps goes on as it would have gone on in those steps from the beginning."""

from __future__ import annotations

import random

import numpy as np
import pytest

from replay.market.core import MatchingCore, PairFacts, make_request
from replay.market.layout import RequestCode
from replay.market.rules import QueueFront, Rules
from tests.replay.market.market_tapes import BOOK, Step, events


def _steps(rng: random.Random, count: int) -> list[Step]:
    steps: list[Step] = []
    for _ in range(count):
        kind = rng.choice(["bid", "ask", "buy", "sell", "horizon bid"])
        steps.append(
            (kind, rng.randrange(95, 106), rng.randrange(5)) if kind != "horizon bid" else (kind, rng.randrange(94, 98))
        )
    return steps


def _play(core: MatchingCore, seed: int, ticks: int, lots: int, *, cut: int | None) -> list[tuple[int, ...]]:
    """Play a tape in steps of which as many are one; with a `cut`, in whole ones up to there."""
    rng, told = random.Random(seed), []
    scale = (1, 1) if cut is not None else (ticks, lots)
    for place, step in enumerate([*BOOK, *_steps(rng, 40)]):
        if place == cut:
            core.rescale(0, ticks, lots)
            scale = (ticks, lots)
        row = events([step], place)
        row["tick"] *= scale[0]
        if not step[0].startswith("horizon"):
            row["lots"] *= scale[1]
        core.run(row)
        if rng.random() < 0.4:
            fields = {"time": place, "number": place, "id": place, "side": rng.randrange(2)}
            fields |= {"tick": rng.randrange(97, 104) * scale[0], "lots": rng.randrange(1, 5) * scale[1]}
            core.arrive(make_request(code=int(RequestCode.NEW), **fields))
        for each in core.take():
            tick, numbers = int(each["tick"]), [int(each[name]) for name in ("lots", "left", "filled", "size")]
            told.append(
                (int(each["id"]), int(each["code"]), tick * ticks // scale[0], *(n * lots // scale[1] for n in numbers))
            )
    return told


@pytest.mark.parametrize("seed", range(12))
def test_the_steps_may_become_finer_at_any_time(seed: int) -> None:
    ticks, lots = ((10, 1), (1, 100), (64, 8), (3, 7))[seed % 4]
    rules = Rules(queue_front=(QueueFront.PESSIMISTIC, QueueFront.COUNT)[seed % 2])
    whole = _play(
        MatchingCore([PairFacts(lots_per_unit=float(lots), lot=1 / lots)], rules, compiled=False, pages=1, slots=4),
        seed,
        ticks,
        lots,
        cut=None,
    )
    core = MatchingCore([PairFacts()], rules, compiled=False, pages=1, slots=4)
    assert _play(core, seed, ticks, lots, cut=5 + seed * 3) == whole
    assert np.isclose(float(core.state.pairs["lots_per_unit"][0]), lots)


def test_another_pair_stays_as_it_is() -> None:
    core = MatchingCore([PairFacts(), PairFacts()], Rules(), compiled=False)
    rows = events(BOOK)
    core.run(rows)
    rows["pair"] = 1
    core.run(rows)
    core.rescale(0, 10, 10)
    assert (core.best(0), core.best(1)) == ((990, 1010), (99, 101))
