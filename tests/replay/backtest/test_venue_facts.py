"""Facts of venues: the files that come with the toolkit, and what is understood of one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from replay.backtest.venue_facts import Admission, VenueFacts, facts_of, parse_facts
from replay.ledger.venue_evidence import MARKS, evidence_of, is_rested_on, values_of
from replay.market.layout import Reason, RequestCode, StateCode
from replay.market.rules import AmendPlace, Rules, SelfTrade
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.venue import venues


@pytest.mark.parametrize("venue", sorted(venues()))
def test_every_venue_has_a_dated_file_with_sources_and_evidence(venue: str) -> None:
    """Each value has a mark and a source; what is not known is said to be so."""
    facts = facts_of(venue)
    assert (facts.venue, len(facts.date)) == (venue, 10)
    assert facts.source
    assert facts.unknown
    assert len(facts.values) > 10
    assert set(facts.evidence) == set(facts.values)
    for path, said in facts.evidence.items():
        mark, _, source = said.partition(": ")
        assert mark in MARKS, path
        assert len(source) > 5, path
    assert facts.maker is not None
    assert facts.taker is not None
    assert facts.maker < facts.taker or facts.venue == "binance-spot"
    assert facts.fees_source


@pytest.mark.parametrize(
    ("venue", "paths"),
    [
        (
            "binance-usdm",
            ["words.margin", "triggers.price", "fees.window_days", "liquidation.fee", "liquidation.order"],
        ),
        ("binance-coinm", ["self_trade_modes", "bands.price", "funding.interval", "margin.price", "liquidation.order"]),
        ("binance-spot", ["triggers.price", "fees.in_kind", "words.price_band"]),
        ("hyperliquid", ["fees.assessed", "twap.every", "switch.least", "liquidation.order"]),
        ("dydx_v4", ["liquidation.spread_share"]),
    ],
)
def test_what_was_checked_against_nothing_is_marked_as_not_verified(venue: str, paths: list[str]) -> None:
    evidence = facts_of(venue).evidence
    assert [evidence[path][:2] for path in paths] == ["?:"] * len(paths)


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
        "max_orders = 3\n[evidence]\nmax_orders = 'x docs'\n[sources]\ndocs = 'a page'",
        "max_orders = 3\n[evidence]\nmax_orders = 'd page'\n[sources]\ndocs = 'a page'",
        "max_orders = 3\n[evidence]\nmin_notional = 'd docs'\n[sources]\ndocs = 'a page'",
        "[funding]\nprice = 'mid'\ninterval = '1h'\ndecimals = 6\nrounding = 'cut'",
        "[funding]\nprice = 'mark'\ninterval = '-1h'\ndecimals = 6\nrounding = 'cut'",
        "[bands]\nprice = 'mark'\nusual = { up = '0.9', down = '0.5' }",
        "[margin]\nprice = 'mark'\nmodes = ['none']",
        "[[margin.tables]]\npairs = ['A-B']\ntiers = [{ floor = '5', leverage = '3', rate = '0.1' }]",
        "fees = 3",
        "lacks = 5",
        "[fees]\nmaker = '0.1'\ntaker = '0.1'\nrounding = 'up and down'",
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


def test_values_are_named_by_their_paths_and_rows_by_their_names() -> None:
    given = {
        "date": "2026-01-01",
        "lacks": ["fok", "gtd"],
        "fees": {"tiers": [{"name": "VIP 1.5", "maker": "0.1"}, {"name": "2", "maker": "0.2"}]},
        "margin": {"tables": [{"pairs": ["A-B", "C-B"], "tiers": [{"floor": "0", "rate": "0.1"}]}]},
    }
    values = values_of(given)
    assert values == {
        "lacks": "fok, gtd",
        "fees.tiers.VIP 1.5.maker": "0.1",
        "fees.tiers.2.maker": "0.2",
        "margin.tables.A-B.0.floor": "0",
        "margin.tables.A-B.0.rate": "0.1",
        "margin.tables.C-B.0.floor": "0",
        "margin.tables.C-B.0.rate": "0.1",
    }
    evidence = {"fees.tiers.maker": "2: a", "fees.tiers.2.maker": "d: b", "margin.tables.rate": "?: c"}
    assert [evidence_of(path, evidence) for path in values] == ["", "2: a", "d: b", "", "?: c", "", "?: c"]
    rested = [path for path in values if is_rested_on(path, {"margin.tables", "fees.tiers.2"}, ["C-B"])]
    assert rested == ["fees.tiers.2.maker", "margin.tables.C-B.0.floor", "margin.tables.C-B.0.rate"]
