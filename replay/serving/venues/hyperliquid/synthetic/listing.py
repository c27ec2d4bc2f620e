"""
The seeded market's instruments as the venue lists them: coins, how their numbers are written, and the metadata replies.

A perpetual of another pool is listed by a dex of that name; a spot pair but the canonical one is called by its index, and
a side of an outcome by its number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from replay.market.engine.instruments import Kind
from replay.serving.venues.hyperliquid.fills import text
from replay.synthetic.instruments import SyntheticInstrument

__all__ = ["Listed", "Metadata", "listing"]

#: Decimals of a token's smallest part, where the real token's are not known.
_WEI_DECIMALS = 8
_KNOWN_SZ_DECIMALS = {"USDC": 8, "USDH": 2, "PURR": 0, "HYPE": 2}
#: Leverage falls in tiers as positions grow; here every table has the one tier.
_TABLES = (10, 20, 25, 40)
#: `index` in the spot universe; the pair of index 0 goes by its name.
_SPOT_INDEX: Final = {"PURR/USDC": 0, "HYPE/USDC": 107}
_SIDES: Final = ("YES", "NO")


def _hex(*parts: str, size: int) -> str:
    return "0x" + blake2b("/".join(parts).encode(), digest_size=size).hexdigest()


@dataclass(frozen=True, slots=True)
class Listed:
    """
    An instrument under the venue's name.

    Attributes:
        coin: `BTC`, `PURR/USDC`, `@107`, `xyz:SP500`, `#7510`.
        instrument: Instrument of the seeded market.
    """

    coin: str
    instrument: SyntheticInstrument

    @property
    def symbol(self) -> str:
        """What the market calls it."""
        return self.instrument.symbol

    @property
    def dex(self) -> str:
        """The perp dex that lists it: "" for the first one, and for anything that is no perpetual."""
        return self.instrument.pool

    def px_text(self, px: int) -> str:
        """A price as the venue prints it."""
        return text(px, self.instrument.px_decimals)

    def sz_text(self, lots: int) -> str:
        """A size as the venue prints it."""
        return text(lots, self.instrument.sz_decimals)


def listing(instruments: Iterable[SyntheticInstrument]) -> dict[str, Listed]:
    """By coin, in the order of the market."""
    rows = [Listed(_coin(each), each) for each in instruments]
    return {each.coin: each for each in rows}


def _coin(instrument: SyntheticInstrument) -> str:
    symbol = instrument.symbol
    if instrument.kind is Kind.OUTCOME:
        number, _, side = symbol.partition("/")
        return f"#{number}{_SIDES.index(side)}"
    if instrument.kind is Kind.SPOT:
        index = _SPOT_INDEX[symbol]
        return f"@{index}" if index else symbol
    return f"{instrument.pool}:{symbol}" if instrument.pool else symbol


class Metadata:
    """The listing of the synthetic venue."""

    def __init__(self, instruments: Iterable[SyntheticInstrument]) -> None:
        #: By coin.
        self.listed = listing(instruments)
        #: By what the market calls it.
        self.by_symbol = {each.symbol: each for each in self.listed.values()}
        self.dexes = [""]
        self.tokens = ["USDC"]
        for each in self.listed.values():
            if each.dex not in self.dexes:
                self.dexes.append(each.dex)
            if each.instrument.kind is Kind.OUTCOME:
                continue
            for name in (each.instrument.base_name, each.instrument.quote_name):
                if name and name not in self.tokens:
                    self.tokens.append(name)

    def universe(self, dex: str) -> list[Listed]:
        """The perpetuals of a dex in the order of `meta`."""
        return [each for each in self.listed.values() if each.instrument.kind is Kind.PERPETUAL and each.dex == dex]

    def spots(self) -> list[Listed]:
        """The spot pairs in the order of `spotMeta`."""
        return [each for each in self.listed.values() if each.instrument.kind is Kind.SPOT]

    def outcomes(self) -> list[Listed]:
        """The outcome coins, both sides."""
        return [each for each in self.listed.values() if each.instrument.kind is Kind.OUTCOME]

    def meta(self, dex: str) -> dict[str, Any]:
        """`{"type":"meta"}`."""
        universe = []
        for each in self.universe(dex):
            asset: dict[str, Any] = {
                "szDecimals": each.instrument.sz_decimals,
                "name": each.coin,
                "maxLeverage": each.instrument.max_leverage,
                "marginTableId": each.instrument.max_leverage,
            }
            if each.instrument.delisted:
                asset["isDelisted"] = True
            universe.append(asset)
        collateral = next((each.instrument.quote_name for each in self.universe(dex)), "USDC")
        tables = [
            [leverage, {"description": "", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": leverage}]}]
            for leverage in _TABLES
        ]
        return {"universe": universe, "marginTables": tables, "collateralToken": self.tokens.index(collateral)}

    def perp_dexs(self) -> list[dict[str, Any] | None]:
        """`{"type":"perpDexs"}`: entry 0, the first dex, is null."""
        dexes: list[dict[str, Any] | None] = [None]
        for dex in self.dexes[1:]:
            deployer = _hex("deployer", dex, size=20)
            dexes.append(
                {
                    "name": dex,
                    "fullName": dex.upper(),
                    "deployer": deployer,
                    "oracleUpdater": None,
                    "feeRecipient": deployer,
                    "assetToStreamingOiCap": [[each.coin, "100000000.0"] for each in self.universe(dex)],
                    "assetToFundingMultiplier": [],
                }
            )
        return dexes

    def spot_meta(self) -> dict[str, Any]:
        """`{"type":"spotMeta"}`."""
        tokens = [
            {
                "name": name,
                "szDecimals": _KNOWN_SZ_DECIMALS.get(name, 2),
                "weiDecimals": _WEI_DECIMALS,
                "index": index,
                "tokenId": _hex("token", name, size=16),
                "isCanonical": name in ("USDC", "PURR"),
                "evmContract": None,
                "fullName": None,
                "deployerTradingFeeShare": "0.0",
            }
            for index, name in enumerate(self.tokens)
        ]
        universe = [
            {
                "tokens": [self.tokens.index(each.instrument.base_name), self.tokens.index(each.instrument.quote_name)],
                "name": each.coin,
                "index": _SPOT_INDEX[each.symbol],
                "isCanonical": "/" in each.coin,
            }
            for each in self.spots()
        ]
        return {"universe": universe, "tokens": tokens}

    def outcome_meta(self) -> dict[str, Any]:
        """`{"type":"outcomeMeta"}`: the coin of an outcome's side is `#` and 10 times the outcome plus the side."""
        sides: dict[int, list[str]] = {}
        for each in self.outcomes():
            sides.setdefault(int(each.coin[1:]) // 10, []).append(each.instrument.base_name)
        return {
            "outcomes": [
                {
                    "outcome": outcome,
                    "name": f"Synthetic {outcome}",
                    "description": "A seeded outcome that never resolves.",
                    "sideSpecs": [{"name": name} for name in names],
                }
                for outcome, names in sides.items()
            ]
        }
