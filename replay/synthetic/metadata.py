"""What the venue says about its listing: `meta`, `spotMeta`, `perpDexs`, `outcomeMeta`."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from replay.synthetic.coins import Instrument

__all__ = ["Metadata"]

#: Decimals of a token's smallest part, where the real token's are not known.
_WEI_DECIMALS = 8
_KNOWN_SZ_DECIMALS = {"USDC": 8, "USDH": 2, "PURR": 0, "HYPE": 2}
#: Leverage falls in tiers as positions grow; here every table has the one tier.
_TABLES = (10, 20, 25, 40)


def _hex(*parts: str, size: int) -> str:
    return "0x" + blake2b("/".join(parts).encode(), digest_size=size).hexdigest()


class Metadata:
    """The listing of the synthetic venue."""

    def __init__(self, instruments: dict[str, Instrument]) -> None:
        self.instruments = instruments
        self.dexes = [""]
        self.tokens = ["USDC"]
        for each in instruments.values():
            if each.dex not in self.dexes:
                self.dexes.append(each.dex)
            if each.family == "outcome":
                continue
            for name in (each.base_name, each.quote_name):
                if name and name not in self.tokens:
                    self.tokens.append(name)

    def universe(self, dex: str) -> list[Instrument]:
        """The perpetuals of a dex in the order of `meta`."""
        return [each for each in self.instruments.values() if each.family == "perp" and each.dex == dex]

    def spots(self) -> list[Instrument]:
        """The spot pairs in the order of `spotMeta`."""
        return [each for each in self.instruments.values() if each.family == "spot"]

    def outcomes(self) -> list[Instrument]:
        """The outcome coins, both sides."""
        return [each for each in self.instruments.values() if each.family == "outcome"]

    def meta(self, dex: str) -> dict[str, Any]:
        """`{"type":"meta"}`."""
        universe = []
        for each in self.universe(dex):
            asset: dict[str, Any] = {
                "szDecimals": each.sz_decimals,
                "name": each.coin,
                "maxLeverage": each.max_leverage,
                "marginTableId": each.max_leverage,
            }
            if each.delisted:
                asset["isDelisted"] = True
            universe.append(asset)
        collateral = next((each.quote_name for each in self.universe(dex)), "USDC")
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
                "tokens": [self.tokens.index(each.base_name), self.tokens.index(each.quote_name)],
                "name": each.coin,
                "index": each.spot_index,
                "isCanonical": "/" in each.coin,
            }
            for each in self.spots()
        ]
        return {"universe": universe, "tokens": tokens}

    def outcome_meta(self) -> dict[str, Any]:
        """`{"type":"outcomeMeta"}`: the coin of an outcome's side is `#` and 10 times the outcome plus the side."""
        sides: dict[int, list[str]] = {}
        for each in self.outcomes():
            sides.setdefault(int(each.coin[1:]) // 10, []).append(each.base_name)
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
