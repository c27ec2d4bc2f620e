"""Rules: presets, and settings as they are written on a command line."""

from __future__ import annotations

import re

import msgspec
import pytest

from replay.market import rules as rules_module
from replay.market.layout import encode_rules
from replay.market.rules import PRESETS, QueueFront, Rules, SelfTrade, hftbacktest, make_rules
from toolkit.errors import ConfigError


def test_settings_change_a_preset() -> None:
    rules = make_rules(
        "default", {"queue_front": "power3", "queue_power": "3", "share_trade": "no", "market_reach": "5"}
    )
    assert (rules.queue_front, rules.queue_power, rules.share_trade, rules.market_reach) == ("power3", 3.0, False, 5)
    assert make_rules("hftbacktest", {"market_reach": "none"}).market_reach is None
    assert make_rules("hftbacktest-whole") == hftbacktest(partial=False)


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("fast", {}, "no rules 'fast', expected one of default, hftbacktest, hftbacktest-whole"),
        ("default", {"queue": "log"}, "no rule 'queue', expected one of queue_front, "),
        ("default", {"queue_front": "fifo"}, "rule queue_front is 'fifo', expected one of pessimistic, power, "),
        ("default", {"unseen": "perhaps"}, "rule unseen is 'perhaps', expected yes or no"),
        ("default", {"queue_power": "-1"}, "queue_power is -1.0, expected a number above 0, for instance 3"),
        ("default", {"queue_power": "x"}, "rule queue_power is 'x', expected a number"),
        ("default", {"market_reach": "0"}, "market_reach is 0, expected at least 1 tick"),
        ("default", {"market_reach": "1.5"}, "rule market_reach is '1.5', expected a whole number, or none"),
    ],
)
def test_what_is_no_rule_is_one_clear_line(preset: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_rules(preset, settings)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_rules_survive_json_and_reach_compiled_code() -> None:
    """They begin a decision log later: nothing may get lost on the way."""
    for rules in PRESETS.values():
        assert msgspec.json.decode(msgspec.json.encode(rules), type=Rules) == rules
        row = encode_rules(rules)[0]
        assert QueueFront.PESSIMISTIC.code == row["queue_front"]
        assert (row["self_trade"], row["market_reach"]) == (rules.self_trade.code, rules.market_reach or 0)
    assert [choice.code for choice in SelfTrade] == [0, 1, 2, 3]


def test_the_table_of_rules_lists_every_rule_with_its_default() -> None:
    """The module's docstring is what people read."""
    told = {
        name: (default.strip(" `"), preset.strip(" `"))
        for name, default, preset in re.findall(
            r"^\| `(\w+)` *\| (.*?) *\| (.*?) *\|$", str(rules_module.__doc__), re.M
        )
    }
    preset = hftbacktest()
    assert set(told) | {"queue_power"} == set(Rules.__struct_fields__)
    words = {True: "yes", False: "no", None: "the pair's band", 100: "100 ticks"}
    for name, (default, of_preset) in told.items():
        value, other = getattr(Rules(), name), getattr(preset, name)
        assert default == (words[value] if not isinstance(value, str) else value), name
        if name not in ("queue_front", "whole_fills"):
            expected = words[other] if not isinstance(other, str) else other
            assert of_preset == ("the same" if value == other else expected), name
