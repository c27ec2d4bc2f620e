"""The first strategy of docs/strategies.md does what its words say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from replay.strategy.loading import load_strategy
from replay.strategy.strategy import Strategy
from tests.embedded_recording import ROOT
from tests.replay.backtest.market_messages import Messages
from tests.replay.strategy.sessions import market, play
from toolkit.clock import NS_PER_MS
from toolkit.messages import Message

SETTINGS = {"pair": "BTC-USD", "size": 1.0, "max_position": 3.0}


@pytest.fixture
def maker(tmp_path: Path) -> type[Strategy]:
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    path = tmp_path / "maker.py"
    path.write_text(next(each for each in programs if "class Maker" in each), encoding="utf-8")
    return load_strategy(path).cls


def one_sided(say: Messages, side: str) -> Iterator[Message]:
    """Two seconds in which somebody takes all that there is of one side, ten times a second, whatever it costs."""
    yield from market(say)
    price = 90 if side == "sell" else 110
    for number in range(20):
        yield say.trade((number * 100 + 50) * NS_PER_MS, side, price, 100)
    yield say.snapshot(2100 * NS_PER_MS)


@pytest.mark.parametrize(
    "latency", ["entry=0ns,response=0ns", "entry=30ms,response=45ms", "entry=260ms,response=170ms"]
)
@pytest.mark.parametrize(("side", "most"), [("sell", 3), ("buy", -3)])
def test_the_maker_of_the_page_holds_its_largest_position_and_no_more(
    maker: type[Strategy], side: str, most: int, latency: str
) -> None:
    """Whatever is under way, and however many come: three of one are bought, or sold, and then no more."""
    played = play(maker, one_sided(Messages(), side), parameters=SETTINGS, latency=latency)
    assert played.session.failure is None
    assert played.record is not None
    assert [entry.position // 10**12 for entry in played.record.entries] == [most // 3 * each for each in (1, 2, 3)]


def test_the_maker_of_the_page_quotes_the_other_side_when_it_is_full(maker: type[Strategy]) -> None:
    say = Messages()
    messages = list(one_sided(say, "sell"))
    messages += [say.trade((2150 + number * 100) * NS_PER_MS, "buy", 110, 100) for number in range(2)]
    played = play(maker, messages, parameters=SETTINGS)
    assert played.record is not None
    assert [entry.position // 10**12 for entry in played.record.entries] == [1, 2, 3, 2, 1]
