"""
What is listed: the recorded metadata, or, where a tape has none (an import), what its coins themselves say.

Metadata that is made up says as little as it can: the names of the tape's coins, and as many decimals of sizes as were seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE
from replay.serving.venues.hyperliquid.rest_rules import VenueFault

__all__ = ["Listing"]

_TAGS: Final = ("meta", "spotMeta", "perpDexs", "outcomeMeta")
_SIZE: Final = re.compile(rb'"sz": ?"\d+(?:\.(\d+))?"')

Meta = dict[str, Any]


class Listing:
    """
    Args:
        symbols: The coins of the tape, to their trading pairs.
    """

    def __init__(self, symbols: Mapping[str, str]) -> None:
        self._symbols = symbols
        self._replies: dict[str, Any] = {}
        self._first: dict[str, Any] = {}
        self._decimals: dict[str, int] = {}
        self._seen: dict[str, None] = dict.fromkeys(symbols)
        self._coins: dict[str, None] | None = None

    # What the tape says ------------------------------------------------------------------------------------------------

    def take(self, tag: str, body: bytes, *, is_opening: bool) -> None:
        """A reply about the listing came; others are passed over. Of the opening the first counts."""
        if tag.partition(":")[0] not in _TAGS:
            return
        try:
            reply = msgspec.json.decode(body)
        except UNREADABLE:
            return
        if not isinstance(reply, dict | list):
            return
        if is_opening:
            self._first.setdefault(tag, reply)
        else:
            self._replies[tag] = reply
        self._coins = None

    def note_payload(self, coin: str, payload: bytes) -> None:
        """A coin spoke; sizes in it tell its decimals."""
        if coin not in self._seen:
            self._seen[coin] = None
            self._coins = None
        most = max((len(digits.rstrip(b"0")) for digits in _SIZE.findall(payload)), default=0)
        if most > self._decimals.get(coin, -1):
            self._decimals[coin] = most

    def forget(self) -> None:
        """Return to what the opening said."""
        self._replies.clear()
        self._coins = None

    # What is listed ----------------------------------------------------------------------------------------------------

    def reply(self, tag: str) -> Any:
        """The recorded reply at the present, or else of the opening; None if there is none."""
        return self._replies.get(tag, self._first.get(tag))

    @property
    def dexes(self) -> list[str]:
        """The perp dexes, "" first."""
        listed = self.reply("perpDexs")
        names = [each["name"] for each in listed if isinstance(each, dict) and "name" in each] if listed else []
        seen = [coin.partition(":")[0] for coin in self._seen if ":" in coin]
        tags = [tag.partition(":")[2] for tag in (*self._first, *self._replies) if tag.startswith("meta:")]
        return list(dict.fromkeys(["", *names, *tags, *seen]))

    @property
    def coins(self) -> dict[str, None]:
        """Every coin, listed or seen."""
        if self._coins is None:
            names: Iterable[str] = (
                name
                for meta in [self.spot_meta(), *(self.meta(dex) for dex in self.dexes)]
                for each in meta["universe"]
                if isinstance(each, dict) and isinstance(name := each.get("name"), str)
            )
            self._coins = {**dict.fromkeys(self._seen), **dict.fromkeys(names)}
        return self._coins

    @property
    def synthesized(self) -> list[str]:
        """What has to be made up, a line each."""
        missing = [tag for tag in ("meta", "spotMeta") if self.reply(tag) is None]
        return [
            f"{tag}: no recorded reply, so it lists the coins of the tape alone, with as many decimals as their sizes show"
            for tag in missing
        ]

    def meta(self, dex: str) -> Meta:
        """Perps of a dex. Raises VenueFault for an unknown one."""
        recorded = self.reply(f"meta:{dex}" if dex else "meta")
        if isinstance(recorded, dict) and isinstance(recorded.get("universe"), list):
            return recorded
        if dex not in self.dexes:
            raise VenueFault
        names = [coin for coin in self._seen if _is_perp(coin) and coin.rpartition(":")[0] == dex]
        universe = [{"szDecimals": self._decimals.get(name, 0), "name": name} for name in names]
        return {"universe": universe, "marginTables": [], "collateralToken": 0}

    def perp_dexs(self) -> Any:
        """The dexes as the venue lists them; the first one has no entry of its own."""
        recorded = self.reply("perpDexs")
        return recorded if recorded is not None else [None, *({"name": dex} for dex in self.dexes if dex)]

    def spot_meta(self) -> Meta:
        """Spot pairs and their tokens."""
        recorded = self.reply("spotMeta")
        if isinstance(recorded, dict) and isinstance(recorded.get("universe"), list):
            return recorded
        tokens: dict[str, int] = {"USDC": 0}
        decimals = {"USDC": 8}
        universe: list[dict[str, Any]] = []
        for coin in self._seen:
            if not (coin.startswith("@") or "/" in coin):
                continue
            pair = coin if "/" in coin else self._symbols.get(coin, coin).replace("-", "/")
            base, _, quote = pair.partition("/")
            numbers = [tokens.setdefault(name, len(tokens)) for name in (base, quote or "USDC")]
            decimals[base] = max(decimals.get(base, 0), self._decimals.get(coin, 0))
            number = int(coin[1:]) if coin[1:].isdigit() else len(universe)
            universe.append({"tokens": numbers, "name": coin, "index": number, "isCanonical": "/" in coin})
        listed = [
            {"name": name, "szDecimals": decimals.get(name, 0), "weiDecimals": 8, "index": index}
            for name, index in tokens.items()
        ]
        return {"universe": universe, "tokens": listed}


def _is_perp(coin: str) -> bool:
    return not (coin.startswith(("@", "#")) or "/" in coin)
