"""Deposits and withdrawals of a run, and accounts in several currencies and at several venues."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from replay.clearing.house_settings import Transfer
from replay.clearing.money_settings import check_transfer_times, parse_leverage, parse_margin, parse_transfers
from replay.ledger.margin_rules import MarginMode
from replay.ledger.money import amount
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, cash, run
from toolkit.account_messages import AccountEvent, AccountEventKind
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import InstrumentKind

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
COINM = PairKey("binance-coinm", "BTC-USD_PERP")
USDM = PairKey("binance-usdm", "BTC-USDT")
NO_FEES = {"maker": Decimal(0), "taker": Decimal(0)}


def test_a_deposit_and_a_withdrawal_come_at_their_times_and_are_no_profit() -> None:
    """1000, and 2 bought at 101 (202): 798. At 1:00 500 come, at 2:00 300 go: 998 in the end, 200 of it transfers."""
    market = Market(HYPERLIQUID)
    market.quote(START + 90 * HOUR // 60, 99, 101)
    played = run(
        market.end(START + DAY),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD", 2))],
        keys=[HYPERLIQUID],
        capital="1000",
        fees=NO_FEES,
        transfers=(
            Transfer(START + 2 * HOUR, "USD", Decimal(-300)),
            Transfer(START + HOUR, "USD", Decimal(500)),
        ),
    )
    record = played.record
    assert record is not None
    assert cash(record.ledger) == 998
    assert amount(record.ledger.account().transfers) == 200
    events = [each for each in record.messages if isinstance(each, AccountEvent)]
    assert [(each.kind, each.amount, each.ts_recv - START) for each in events] == [
        (AccountEventKind.DEPOSIT, 500.0, HOUR),
        (AccountEventKind.WITHDRAWAL, -300.0, 2 * HOUR),
    ]
    assert [(row[0] - START, row[3][0], row[3][2]) for row in played.told("money")] == [
        (HOUR, "transfer", "500"),
        (2 * HOUR, "transfer", "-300"),
    ]


def test_a_deposit_before_the_price_falls_keeps_a_position_alive() -> None:
    """Leverage 20 as elsewhere is liquidated at 97; with 500 more at 0:30 it is not before 91.8."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    market.quote(START + HOUR, 96, 98)
    market.rate(START + HOUR + 1, mark_price=97.0)
    settings: dict[str, Any] = {"keys": [HYPERLIQUID], "capital": "505", "fees": NO_FEES, "leverage": {"": Decimal(20)}}
    deeds = [(START + 60, lambda ctx: ctx.buy("BTC-USD", 100))]
    poor = run(market.end(START + DAY), deeds, **settings)
    rich = run(
        market.end(START + DAY), deeds, **settings, transfers=(Transfer(START + HOUR // 2, "USD", Decimal(500)),)
    )
    assert [len(each.record.liquidations) for each in (poor, rich) if each.record] == [1, 0]


def test_profit_of_an_inverse_contract_is_in_its_coin() -> None:
    """
    COIN-M, 100 USD a contract: 40 bought at 101 and sold at 125: 4000 / 101 - 4000 / 125 = 39.603960... - 32 BTC gained.
    Fees of 0.05 %, 8 digits: 0.01980198 and 0.016.
    """
    market = Market(COINM, contract_value=100.0, settle="BTC")
    market.quote(START + HOUR, 125, 126)
    played = run(
        market.end(START + DAY),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD_PERP", 40)),
            (START + HOUR + 60, lambda ctx: ctx.sell("BTC-USD_PERP", 40)),
        ],
        keys=[COINM],
        asset="BTC",
        capital="3",
    )
    assert played.record is not None
    got = cash(played.record.ledger)
    exact = Decimal(3) + Decimal(4000) / 101 - 32 - Decimal("0.01980198") - Decimal("0.016")
    assert abs(got - exact) < Decimal("1e-20")


def test_currencies_of_two_venues_are_accounts_of_their_own() -> None:
    """
    A linear contract in USDT at one venue, an inverse one in BTC at another, each with its fee, funding and deposit.

    USDM: 3 at 101: 303, fee 0.05 % 0.1515. COIN-M: 20 sold at 99: 2000 / 99 = 20.20202... BTC, fee 0.01010101.
    """
    linear, inverse = Market(USDM, settle="USDT"), Market(COINM, contract_value=100.0, settle="BTC")
    linear.quote(START + HOUR, 99, 101)
    both = sorted([*linear.messages, *inverse.messages], key=lambda each: each.ts_recv)
    merged = [msgspec.structs.replace(message, capture_seq=number) for number, message in enumerate(both)]
    played = run(
        merged,
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USDT", 3)),
            (START + 60, lambda ctx: ctx.sell("BTC-USD_PERP", 20)),
        ],
        keys=[USDM, COINM],
        capital="",
        transfers=(),
    )
    assert played.record is not None
    ledger = played.record.ledger
    assert cash(ledger, "binance-usdm/USDT") == Decimal("-303.1515")
    # What was sold is a debt of that much, and an inverse contract's worth is negative: cash falls by it.
    assert abs(cash(ledger, "binance-coinm/BTC") + Decimal(2000) / 99 + Decimal("0.01010101")) < Decimal("1e-20")


def test_a_transfer_into_an_account_that_there_is_not_ends_the_run_in_one_line() -> None:
    market = Market(HYPERLIQUID)
    market.quote(START + 2 * HOUR, 99, 101)
    with pytest.raises(AssertionError, match=r"a transfer of EUR: expected the name of one account of USD"):
        run(
            market.end(START + DAY),
            [],
            keys=[HYPERLIQUID],
            transfers=(Transfer(START + HOUR, "EUR", Decimal(1)),),
        )


def test_settings_are_read_as_they_are_written() -> None:
    assert parse_leverage(["5", "BTC-USD=20,ETH-USD=2.5"]) == {
        "": Decimal(5),
        "BTC-USD": Decimal(20),
        "ETH-USD": Decimal("2.5"),
    }
    assert parse_margin(["BTC-USD=isolated", "cross"]) == {"BTC-USD": MarginMode.ISOLATED, "": MarginMode.CROSS}
    assert parse_transfers(["2024-08-08T12:00 USDC=-5.5", "2024-08-08 11:00 USDC=1"]) == (
        Transfer(1_723_114_800 * 10**9, "USDC", Decimal(1)),
        Transfer(1_723_118_400 * 10**9, "USDC", Decimal("-5.5")),
    )


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_leverage, "x"),
        (parse_leverage, "-2"),
        (parse_leverage, "BTC-USD="),
        (parse_leverage, "1e3"),
        (parse_margin, "both"),
        (parse_margin, "BTC-USD"),
        (parse_transfers, "USDC=5"),
        (parse_transfers, "2024-08-08T12:00 USDC"),
        (parse_transfers, "2024-08-08T12:00 USDC=0"),
        (parse_transfers, "noon USDC=5"),
    ],
)
def test_a_setting_of_money_that_is_none_is_one_line(read: object, text: str) -> None:
    assert callable(read)
    with pytest.raises(ConfigError):
        read([text])


def test_what_stands_for_a_position_cannot_be_withdrawn() -> None:
    """1000, 10 at 101 at 5x: 200 of a mark of 100 stand for them, 990 are there: 800 cannot go, 700 can."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    played = run(
        market.end(START + DAY),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD", 10))],
        keys=[HYPERLIQUID],
        capital="1000",
        fees=NO_FEES,
        leverage={"": Decimal(5)},
        transfers=(
            Transfer(START + HOUR, "USD", Decimal(-800)),
            Transfer(START + 2 * HOUR, "USD", Decimal(-700)),
        ),
    )
    assert played.record is not None
    assert amount(played.record.ledger.account().transfers) == -700
    assert played.record.counts["transfers_refused"] == 1


def test_a_withdrawal_of_more_than_there_is_is_refused_without_leverage_too() -> None:
    """Of 1000 go 600; 500 more are not there; the other 400 are."""
    market = Market(HYPERLIQUID)
    played = run(
        market.end(START + DAY),
        [],
        keys=[HYPERLIQUID],
        capital="1000",
        transfers=tuple(
            Transfer(START + (1 + n) * HOUR, "USD", Decimal(-each)) for n, each in enumerate((600, 500, 400))
        ),
    )
    assert played.record is not None
    assert cash(played.record.ledger) == 0
    assert played.record.counts["transfers_refused"] == 1


@pytest.mark.parametrize(
    ("at_ns", "last_ns"), [(START - 1, START + DAY), (START + DAY + 1, START + DAY), (START - 1, None)]
)
def test_a_transfer_outside_the_run_is_refused(at_ns: int, last_ns: int | None) -> None:
    with pytest.raises(ConfigError, match=r"a transfer of 5 USD at .* is outside the run: expected a time "):
        check_transfer_times([Transfer(at_ns, "USD", Decimal(5))], START, last_ns)


def test_a_transfer_at_either_end_of_the_run_is_inside() -> None:
    ends = [Transfer(START, "USD", Decimal(5)), Transfer(START + DAY, "USD", Decimal(5))]
    check_transfer_times(ends, START, START + DAY)
    check_transfer_times(ends, START)


@pytest.mark.parametrize("settings", [{"capital": ""}, {"capital": "0"}, {"capital": "", "transfers": -5}])
def test_leverage_needs_capital(settings: dict[str, Any]) -> None:
    settings = dict(settings)
    if "transfers" in settings:
        settings["transfers"] = (Transfer(START + HOUR, "USD", Decimal(settings["transfers"])),)
    with pytest.raises(AssertionError, match=r"leverage without capital.* for instance --capital USD=10000"):
        run(Market(HYPERLIQUID).end(START + DAY), [], keys=[HYPERLIQUID], leverage={"": Decimal(5)}, **settings)


def test_leverage_of_all_pairs_leaves_out_venues_where_things_are_paid_for_and_tiers_are_named_by_venue() -> None:
    """A spot leg beside a perpetual one: the first is paid for in full, whatever the leverage of the second."""
    spot_key = PairKey("binance-spot", "BTC-USDT")
    perp, spot = Market(HYPERLIQUID), Market(spot_key, kind=InstrumentKind.SPOT, settle="USDT")
    perp.rate(START + 1, mark_price=100.0)
    perp.quote(START + HOUR, 99, 101)
    both = sorted([*perp.messages, *spot.messages], key=lambda each: each.ts_recv)
    merged = [msgspec.structs.replace(message, capture_seq=number) for number, message in enumerate(both)]
    played = run(
        merged,
        [
            (START + 60, lambda ctx: ctx.sell("BTC-USD", 10)),
            (START + 60, lambda ctx: ctx.buy("BTC-USDT", 10)),
        ],
        keys=[HYPERLIQUID, spot_key],
        capital="1000",
        leverage={"": Decimal(5)},
        fee_tier="hyperliquid=4",
    )
    assert played.record is not None
    assert [each.name for each in played.record.tiers] == ["4"]
    # 990 * 0.028 %; and 1010 * 0.1 % on spot.
    assert [fill[3] for kind, fill in played.heard if kind == "fill"] == [Decimal("0.2772"), Decimal("1.01")]
    with pytest.raises(ConfigError, match=r"^fee tier 'moon=4': expected VENUE=TIER with a venue of hyperliquid$"):
        run(merged, [], keys=[HYPERLIQUID, spot_key], fee_tier="moon=4")


def test_leverage_of_one_of_two_venues_that_have_a_pair_is_named_by_both() -> None:
    """1 at a mark of 100: at one venue with 50 of capital at 2x, at the other at 1x it is refused."""
    dydx = PairKey("dydx_v4", "BTC-USD")
    markets = [Market(HYPERLIQUID), Market(dydx, max_leverage=20.0)]
    for market in markets:
        market.rate(START + 1, mark_price=100.0, index_price=100.0)
        market.quote(START + HOUR, 99, 101)
    both = sorted([*markets[0].messages, *markets[1].messages], key=lambda each: each.ts_recv)
    merged = [msgspec.structs.replace(message, capture_seq=number) for number, message in enumerate(both)]
    played = run(
        merged,
        [(START + 60, lambda ctx: [ctx.buy(pair, 1) for pair in ctx.pairs])],
        keys=[HYPERLIQUID, dydx],
        capital="50",
        leverage=parse_leverage(["BTC-USD on hyperliquid=2", "1"]),
        fees=NO_FEES,
    )
    assert [row[1] for kind, row in played.heard if kind == "order"] == ["open", "filled", "rejected"]
    with pytest.raises(ConfigError, match=r"^leverage of 'BTC-USD on moon', which is no pair of the run"):
        run(merged, [], keys=[HYPERLIQUID, dydx], leverage=parse_leverage(["BTC-USD on moon=2"]))
