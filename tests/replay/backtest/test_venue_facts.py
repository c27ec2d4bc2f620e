"""Facts of venues: the files that come with the toolkit, and what is understood of one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from replay.backtest.venue_facts import Admission, VenueFacts, facts_of, parse_facts
from replay.market.layout import Reason, RequestCode, StateCode
from replay.market.rules import AmendPlace, Rules, SelfTrade
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.venue import venues


@pytest.mark.parametrize("venue", sorted(venues()))
def test_every_venue_has_a_dated_file_with_sources_and_evidence(venue: str) -> None:
    """Each fact has a mark; what is not known is said to be so."""
    facts = facts_of(venue)
    assert (facts.venue, len(facts.date)) == (venue, 10)
    assert facts.source
    assert facts.unknown
    plain = VenueFacts()
    said = {
        name
        for name in (
            "min_notional",
            "reduce_only_is_exempt",
            "max_orders",
            "rate_limits",
            "rules",
            "words",
            "lacks",
            "reduce_only_tifs",
            "funding",
            "margin",
            "liquidation",
            "triggers",
            "bands",
            "self_trade_modes",
            "blocks",
            "switch",
            "twap",
        )
        if getattr(facts, name) != getattr(plain, name)
    }
    assert said | {"fees"} == set(facts.evidence)
    assert all(mark[:1] in ("d", "2", "?", "s") for mark in facts.evidence.values())
    assert facts.maker is not None
    assert facts.taker is not None
    assert facts.maker < facts.taker or facts.venue == "binance-spot"
    assert facts.fees_source


def test_a_venue_without_a_file_has_no_facts() -> None:
    assert facts_of("nowhere") == VenueFacts(venue="nowhere")


def test_a_venues_own_rules_stand_in_the_defaults_but_where_they_are_set() -> None:
    facts = VenueFacts(rules={"amend_place": "kept", "self_trade": "expire_both"})
    rules = facts.apply(Rules(self_trade=SelfTrade.NOT_SEEN), but=frozenset({"self_trade"}))
    assert (rules.amend_place, rules.self_trade) == (AmendPlace.KEPT, SelfTrade.NOT_SEEN)
    assert VenueFacts().apply(rules) is rules


def test_words_may_depend_on_what_became_of_the_order_and_name_prices() -> None:
    facts = parse_facts(
        '[words]\nreduce_only = "no"\n"reduce_only cancelled" = "gone"\nwould_cross = "{bid} {other}"', "a"
    )
    assert facts.text(Reason.REDUCE_ONLY, StateCode.REJECTED) == "no"
    assert facts.text(Reason.REDUCE_ONLY, StateCode.CANCELLED) == "gone"
    assert facts.text(Reason.WOULD_CROSS, StateCode.REJECTED, bid=5) == "5 ?"
    assert facts.text(Reason.EXPIRY, StateCode.EXPIRED) == ""


@pytest.mark.parametrize(
    "text",
    [
        "max_orders = ",
        "max_orders = 'many'",
        "speed = 3",
        "[words]\nnever = 'a'",
        "lacks = ['fourth']",
        "reduce_only_tifs = ['day']",
        "[rules]\nself_trade = 'sometimes'",
        "[rules]\nqueue = 'log'",
        "[[rate_limits]]\ntokens = 3\nper = '300'\ncosts = { new = 1 }",
        "[[rate_limits]]\ntokens = 3\nper = '300ms'\ncosts = { buy = 1 }",
        "[fees]\nmaker = 'free'",
    ],
)
def test_what_is_no_fact_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="the facts of a cannot be read"):
        parse_facts(text, "a")


def test_numbers_are_exact() -> None:
    facts = parse_facts('min_notional = 0.1\n[fees]\nmaker = -0.00001\ntaker = "0.00045"', "a")
    assert (facts.min_notional, facts.maker, facts.taker) == (Decimal("0.1"), Decimal("-0.00001"), Decimal("0.00045"))


def test_tokens_come_back_steadily_and_never_more_than_there_are() -> None:
    """10 in a second: 10 at once, the next after a tenth, and after a day again 10 and no more; others cost nothing."""
    facts = parse_facts("[[rate_limits]]\ntokens = 10\nper = '1s'\ncosts = { new = 1, amend = 5 }", "a")
    admission = Admission(facts)
    start = 1_800_000_000 * NS_PER_S
    assert [admission.spend(RequestCode.NEW, start) for _ in range(11)] == [True] * 10 + [False]
    assert admission.spend(RequestCode.CANCEL, start)
    assert not admission.spend(RequestCode.NEW, start + NS_PER_S // 10 - 1)
    assert admission.spend(RequestCode.NEW, start + NS_PER_S // 10)
    later = start + 86_400 * NS_PER_S
    assert [admission.spend(RequestCode.AMEND, later) for _ in range(3)] == [True, True, False]


def test_a_request_that_one_bucket_refuses_takes_from_none() -> None:
    limits = "[[rate_limits]]\ntokens = 1\nper = '1s'\ncosts = { new = 1 }\n"
    limits += "[[rate_limits]]\ntokens = 2\nper = '1h'\ncosts = { new = 1, cancel = 1 }"
    admission = Admission(parse_facts(limits, "a"))
    assert admission.spend(RequestCode.NEW, NS_PER_S)
    assert not admission.spend(RequestCode.NEW, NS_PER_S)
    assert admission.spend(RequestCode.CANCEL, NS_PER_S)
    assert not admission.spend(RequestCode.CANCEL, NS_PER_S)
