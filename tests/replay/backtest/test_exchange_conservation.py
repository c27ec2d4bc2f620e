"""Whatever the tape, the latencies and the orders: no fill that nobody paid for, no knowledge before its time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.backtest.desk import VenueDesk
from replay.market.rules import QueueFront, Rules
from tests.replay.backtest.random_strategies import RandomStrategy

seeds = st.integers(0, 2**32)


@settings(max_examples=60)
@given(seeds)
def test_money_fills_states_and_times_are_right_at_every_answer(seed: int) -> None:
    RandomStrategy(seed, compiled=False).run()


@settings(max_examples=30)
@given(seeds)
def test_a_tape_that_is_cut_gives_a_prefix_of_the_same_log(seed: int) -> None:
    whole = RandomStrategy(seed, compiled=False).run(closes=False)
    cut = RandomStrategy(seed, compiled=False, cut=random.Random(seed).randrange(3, 25)).run(closes=False)
    assert cut.log == whole.log[: len(cut.log)]
    assert cut.exchange.fills == whole.exchange.fills[: len(cut.exchange.fills)]


@settings(max_examples=40)
@given(seeds)
def test_what_reaches_no_order_may_wait_and_the_log_is_the_same(seed: int) -> None:
    waits = RandomStrategy(seed, compiled=False).run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VenueDesk, "_may_reach", lambda *_: True)
        at_once = RandomStrategy(seed, compiled=False).run()
    assert (waits.log, waits.exchange.fills) == (at_once.log, at_once.exchange.fills)


@pytest.mark.slow
def test_ten_thousand_random_strategies() -> None:
    for seed in range(10_000):
        try:
            RandomStrategy(seed, compiled=True).run()
        except AssertionError as exc:
            raise AssertionError(f"seed {seed}: {exc}") from exc


@pytest.mark.slow
@settings(max_examples=300)
@given(seeds, st.sampled_from(list(QueueFront)))
def test_compiled_or_not_the_log_is_the_same(seed: int, queue: QueueFront) -> None:
    rules = Rules(queue_front=queue)
    fast = RandomStrategy(seed, compiled=True, rules=rules).run()
    slow = RandomStrategy(seed, compiled=False, rules=rules).run()
    assert (fast.log, fast.exchange.fills) == (slow.log, slow.exchange.fills)
