"""What one trades, by what the venue says of an instrument, or by its name where nothing was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from replay.backtest.market import Market
from replay.backtest.venue_facts import facts_of
from replay.ledger.ledger import LedgerMarket
from replay.ledger.money import Contract, ContractKind
from toolkit.accounts.exact_sums import exact
from toolkit.keys import PairKey
from toolkit.messages import Instrument, InstrumentKind

__all__ = ["contract_of", "is_known", "ledger_market", "missing_said"]


def contract_of(key: PairKey, instrument: Instrument | None, contract_value: Decimal | None = None) -> Contract:
    """
    The contract of a pair.

    Without an instrument it is linear, or spot at a venue that has nothing else, and settles in the quote currency, which is
    what follows the last `-` of the name; with a `contract_value`, quote currency that one contract stands for, it is inverse and settles in the base currency.
    """
    base, _, quote = key.trading_pair.rpartition("-")
    if instrument is None and contract_value is not None:
        return Contract(kind=ContractKind.INVERSE, settle=base, base=base, contract_value=contract_value)
    if instrument is None:
        kind = ContractKind.SPOT if facts_of(key.venue).is_spot else ContractKind.LINEAR
        return Contract(kind=kind, settle=quote or key.trading_pair, base=base)
    base, quote = instrument.base or base, instrument.quote or quote or key.trading_pair
    if contract_value is not None or instrument.contract_value is not None:
        value = exact(instrument.contract_value or 0) if contract_value is None else contract_value
        return Contract(kind=ContractKind.INVERSE, settle=instrument.settle or base, base=base, contract_value=value)
    if instrument.kind is InstrumentKind.SPOT:
        return Contract(kind=ContractKind.SPOT, settle=quote, base=base)
    return Contract(kind=ContractKind.LINEAR, settle=instrument.settle or quote, base=base)


def ledger_market(before: LedgerMarket, market: Market, instrument: Instrument | None) -> LedgerMarket:
    """What a ledger learns of a pair that it knows: its tick and lot of now, and its contract."""
    contract = before.contract
    if instrument is not None or contract is None:
        contract = contract_of(before.key, instrument, market.assumed.contract_value)
    tick, lot = (None, None) if market.scale is None else (market.scale.tick, market.scale.lot)
    return LedgerMarket(key=before.key, contract=contract, fees=before.fees, tick=tick, lot=lot)


def is_known(market: Market) -> bool:
    """Whether a recording has said by now, or it was assumed, in what steps and in what money a pair is traded."""
    is_inverse = facts_of(market.key.venue).is_inverse
    return market.rules_at() is not None and not (is_inverse and market.contract_value is None)


def missing_said(names: Sequence[str], markets: Sequence[Market]) -> str:
    """What is missing of pairs that are not known, for people; empty for none."""
    stepless = [name for name, market in zip(names, markets, strict=True) if market.rules_at() is None]
    worthless = [name for name, market in zip(names, markets, strict=True) if market.rules_at() is not None]
    said = [f"tick and lot of {', '.join(stepless)}"] if stepless else []
    return " and ".join([*said, f"what a contract of {', '.join(worthless)} is worth"] if worthless else said)
