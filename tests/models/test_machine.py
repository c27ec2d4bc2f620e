"""The machine itself: it runs the same again, finds what is wrong, and leaves out of a sequence what does not matter."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from tests.models.machine import SECOND, Bug, Difference, Machine, Model, hunt, replaced, run_many, sequence, shrunk
from toolkit.messages import BestQuote
from toolkit.protocol import ProtocolOptions, RestCall, VenueProtocol
from toolkit.venue import find_venue


class OneQuote(Model):
    """A market of one best bid, told on every change; it rises by 1 each second."""

    settle_ns = 2 * SECOND
    wrong_from = 10**9

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.bid = 100 + rng.randrange(100)

    def make_protocol(self) -> VenueProtocol:
        return find_venue("hyperliquid").make_protocol(ProtocolOptions(pairs=("BTC-USD",), channels=("bbo",)))

    def opened(self, line: object) -> None:
        pass

    def receive(self, line: object, text: bytes) -> None:
        pass

    def answer(self, call: RestCall) -> tuple[int, bytes]:
        found = {"meta": {"universe": [{"name": "BTC", "szDecimals": 5}]}, "spotMeta": {"tokens": [], "universe": []}}
        return 200, msgspec.json.encode(found[call.tag])

    def passed(self) -> None:
        self.bid += 1
        level = {"px": str(self.bid), "sz": "1", "n": 1}
        for line in self.machine.lines.values():
            line.send({"channel": "bbo", "data": {"coin": "BTC", "time": self.now_ns // 10**6, "bbo": [level, None]}})

    def differences(self) -> list[str]:
        said = [message.bid_price for message in self.machine.messages if isinstance(message, BestQuote)]
        wrong = self.bid >= self.wrong_from
        return [] if said[-1] == self.bid and not wrong else [f"bid {said[-1]}, the model's is {self.bid}"]


def test_a_sequence_is_the_same_each_time() -> None:
    first, again = Machine(OneQuote, "a"), Machine(OneQuote, "a")
    first.run(sequence("a", 40))
    again.run(sequence("a", 40))
    assert first.log == again.log
    assert first.messages == again.messages
    assert len(set(first.log)) > 8


def test_a_difference_names_a_short_sequence_that_shows_it() -> None:
    with (
        replaced(OneQuote, "wrong_from", 210),
        pytest.raises(Difference, match=r"^sequence 'x/\d+', \d+ steps \(.*\): bid"),
    ):
        run_many(OneQuote, "x", 50, 80)


def test_what_does_not_matter_is_left_out() -> None:
    steps = sequence("b", 50)
    with replaced(OneQuote, "wrong_from", 0):
        assert shrunk(OneQuote, "b", steps) == []


def test_a_bug_that_is_put_back_is_hunted() -> None:
    bug = Bug("the model itself is wrong from 210 on", lambda: replaced(OneQuote, "wrong_from", 210))
    assert hunt(OneQuote, bug, "c", 50) is not None
    assert hunt(OneQuote, Bug("none", lambda: replaced(OneQuote, "wrong_from", 10**9)), "c", 3) is None
