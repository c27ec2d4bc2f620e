"""
Hyperliquid's coins and our trading pairs.

| coin          | what                | pair                                                       |
|---------------|---------------------|------------------------------------------------------------|
| `BTC`         | perp of first dex   | `BTC-USD`                                                  |
| `PURR/USDC`   | canonical spot pair | `PURR-USDC`                                                |
| `@107`        | any other spot pair | base and quote token, `HYPE-USDC`; needs `spotMeta`        |
| `xyz:SP500`   | perp of a HIP-3 dex | coin and collateral, `xyz:SP500-USDH`; needs that `meta`   |
| `#7510`       | side of an outcome  | the coin itself: outcomes have sentences for names         |

Without metadata a pair follows from the spelling where it can (the first, second and last row); otherwise the coin
stands for it. Two coins that would get one pair (token names are not unique) both keep their coin as the pair, save
a canonical one.

A pair that was given to a coin stays its own, whatever later metadata says: a table that spoke of one instrument under
two names, or of two under one, would be wrong without saying so.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from toolkit.errors import ParseError, SymbolError
from toolkit.messages import InstrumentKind
from toolkit.venues.hyperliquid.lenient import items, loose
from toolkit.venues.hyperliquid.wire import CoinName, Finite

__all__ = ["Coin", "SymbolTable", "dex_of", "is_perpetual", "pair_from_spelling"]

#: Prices have at most 5 significant figures, and at most this many decimals less the size's; integers always pass.
PRICE_FIGURES_MAX: Final = 5
PERP_DECIMALS: Final = 6
SPOT_DECIMALS: Final = 8
MIN_NOTIONAL: Final = 10.0
#: `k` names count in thousands of tokens.
K_MULTIPLIER: Final = 1000.0
K_COINS: Final = frozenset({"kPEPE", "kSHIB", "kBONK", "kLUNC", "kFLOKI", "kNEIRO", "kDOGS"})


class Coin(msgspec.Struct, frozen=True):
    """
    An instrument as the metadata describes it.

    Attributes:
        coin: The venue's spelling.
        pair: Ours.
        kind: Kind of contract.
        base: Base token.
        quote: Currency of prices.
        settle: Currency of margin.
        size_decimals: Decimals of a size.
        price_decimals_max: Most decimals of a price.
        max_leverage: Highest leverage; None on spot.
        is_active: False when delisted.
    """

    coin: str
    pair: str
    kind: InstrumentKind
    base: str
    quote: str
    settle: str
    size_decimals: int | None
    price_decimals_max: int | None
    max_leverage: float | None
    is_active: bool


def pair_from_spelling(coin: str) -> str:
    """The pair where the coin's spelling alone tells it, else the coin."""
    if coin.startswith(("@", "#")) or ":" in coin:
        return coin
    if "/" in coin:
        return coin.replace("/", "-")
    return f"{coin}-USD"


def dex_of(name: str) -> str:
    """The HIP-3 dex a coin or pair is spelled with; empty for all others."""
    return name.partition(":")[0] if ":" in name else ""


def is_perpetual(coin: str) -> bool:
    """Whether a coin is spelled as a perp, of the first dex or a HIP-3 one."""
    return not coin.startswith(("@", "#")) and "/" not in coin


_Decimals = Annotated[int, msgspec.Meta(ge=0, le=18)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _Asset(msgspec.Struct):
    name: CoinName
    szDecimals: _Decimals
    maxLeverage: Finite | None = None
    isDelisted: bool = False


class _Meta(msgspec.Struct):
    universe: list[_Asset]
    collateralToken: int | None = None


class _Token(msgspec.Struct):
    name: CoinName
    szDecimals: _Decimals
    index: _Index


class _SpotPair(msgspec.Struct):
    name: CoinName
    tokens: tuple[int, int]
    index: _Index
    isCanonical: bool = False


class _SpotMeta(msgspec.Struct):
    tokens: list[_Token]
    universe: list[_SpotPair]


class _Side(msgspec.Struct):
    name: str = ""


class _Outcome(msgspec.Struct):
    outcome: _Index
    name: str = ""
    sideSpecs: list[_Side] = []


class _OutcomeMeta(msgspec.Struct):
    outcomes: list[_Outcome] = []


class _Dex(msgspec.Struct):
    name: CoinName


#: Where the lists of each kind of metadata are, and what their entries are.
_LISTS: Final[dict[str, dict[str, Any]]] = {
    "meta": {"universe": _Asset},
    "spotMeta": {"tokens": _Token, "universe": _SpotPair},
    "outcomeMeta": {"outcomes": _Outcome},
}
_HEADS: Final[dict[str, Any]] = {"meta": _Meta, "spotMeta": _SpotMeta, "outcomeMeta": _OutcomeMeta}


def _read(reply: Any, tag: str, odd: list[str]) -> Any:
    """Metadata, entry by entry; an odd one is reported and left out. Raises ParseError where there is nothing to read."""
    what = tag.partition(":")[0]
    if what == "perpDexs":
        if not isinstance(reply, list):
            raise ParseError(f"{tag} of another shape than documented: expected a list, found {type(reply).__name__}")
        return _entries([entry for entry in reply if entry is not None], _Dex, tag, odd)
    lists = _LISTS[what]
    if not isinstance(reply, dict):
        raise ParseError(f"{tag} of another shape than documented: expected an object, found {type(reply).__name__}")
    for name in lists:
        if not isinstance(reply.get(name, [] if what == "outcomeMeta" else None), list):
            raise ParseError(f"{tag} of another shape than documented: expected a list in {name!r}")
    head = loose({**reply, **{name: [] for name in lists}}, _HEADS[what], tag, odd)
    if head is None:
        raise ParseError(f"{tag} of another shape than documented: {odd[-1]}")
    for name, kind in lists.items():
        setattr(head, name, _entries(reply.get(name, []), kind, f"{tag} {name}", odd))
    return head


def _entries(raw: list[Any], kind: type[Any], what: str, odd: list[str]) -> list[Any]:
    """The entries that can be read. A list without one is not an empty listing: ParseError."""
    found = items(raw, kind, what, odd)
    if raw and not found:
        raise ParseError(f"{what} of another shape than documented: {odd[-1]}")
    return found


class SymbolTable:
    """All coins the metadata listed, and the pairs of those it did not."""

    def __init__(self) -> None:
        self._replies: dict[str, Any] = {}
        self._given: dict[str, str] = {}
        self._coins: dict[str, Coin] = {}
        self._pair_of: dict[str, str] = {}
        self._coin_of: dict[str, str] = {}

    def has_reply(self, tag: str) -> bool:
        """Whether that metadata has come."""
        return tag in self._replies

    def __contains__(self, coin: str) -> bool:
        return coin in self._coins

    def get(self, coin: str) -> Coin | None:
        """What the metadata says of a coin; None if it does not know it."""
        return self._coins.get(coin)

    def coins(self) -> list[Coin]:
        """All of them, in the order of the metadata."""
        return list(self._coins.values())

    def has_dex(self, dex: str) -> bool:
        """Whether `perpDexs` lists that HIP-3 dex."""
        return dex in self.dexes()

    def dexes(self) -> list[str]:
        """Names of the HIP-3 dexes that `perpDexs` lists."""
        return [entry.name for entry in _read(self._replies.get("perpDexs", []), "perpDexs", [])]

    def collateral(self, dex: str) -> str:
        """The token that positions on a dex are margined in; empty where no metadata tells it."""
        if not dex:
            return "USDC"
        return next((coin.settle for coin in self._coins.values() if dex_of(coin.coin) == dex), "")

    def pair(self, coin: str) -> str:
        """Our spelling of a coin, the coin itself where no pair is known; from now on it stays that."""
        pair = self._given.get(coin)
        if pair is None:
            known = self._coins.get(coin)
            pair = self._given[coin] = self._pair_of[coin] = known.pair if known else self._unlisted_pair(coin)
            self._coin_of.setdefault(pair, coin)
        return pair

    def coin(self, name: str) -> str:
        """The coin of a pair; a coin is taken as it is. Raises SymbolError with the closest names."""
        if name in self._coin_of:
            return self._coin_of[name]
        if name in self._coins or name in self._pair_of:
            return name
        names = [*self._coin_of, *self._coins]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        if not close:
            close = [known for known in names if known.lower() == name.lower()]
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise SymbolError(f"the venue lists no {name!r} (names are case-sensitive, BTC-USD is a perp){hint}")

    def update(self, tag: str, reply: Any) -> list[str]:
        """
        Take in a metadata reply.

        Args:
            tag: `meta`, `meta:<dex>`, `spotMeta`, `perpDexs` or `outcomeMeta`.
            reply: The decoded JSON.

        Returns:
            A line for each entry, or part of one, that could not be read.

        Raises:
            ParseError: It does not have the shape the venue documents.
        """
        what = tag.partition(":")[0]
        if what not in (*_LISTS, "perpDexs"):
            raise ParseError(f"unknown metadata {tag!r}, expected one of {', '.join(_LISTS)}, perpDexs")
        odd: list[str] = []
        _read(reply, tag, odd)
        self._replies[tag] = reply
        self._rebuild()
        return odd

    def export(self) -> Any:
        """The replies it rests on and the pairs it has given, for a checkpoint."""
        return {"replies": self._replies, "pairs": list(self._given.items())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the table that `export` described."""
        self._replies = dict(state["replies"])
        self._given = dict(state["pairs"])
        self._rebuild()

    def _unlisted_pair(self, coin: str) -> str:
        # A listed coin may already own the pair that this one is spelled like.
        pair = pair_from_spelling(coin)
        return coin if self._coin_of.get(pair, coin) != coin else pair

    def _rebuild(self) -> None:
        tokens: dict[int, _Token] = {}
        coins: list[Coin] = []
        spot = self._replies.get("spotMeta")
        if spot is not None:
            spot_meta: _SpotMeta = _read(spot, "spotMeta", [])
            tokens = {token.index: token for token in spot_meta.tokens}
            coins += _spot_coins(spot_meta, tokens)
        for tag in sorted(self._replies):
            if tag == "meta" or tag.startswith("meta:"):
                coins += _perp_coins(_read(self._replies[tag], tag, []), tag.partition(":")[2], tokens)
        outcomes = self._replies.get("outcomeMeta")
        if outcomes is not None:
            coins += _outcome_coins(_read(outcomes, "outcomeMeta", []))
        # A coin that is listed twice is one.
        coins = list({coin.coin: coin for coin in coins}.values())
        self._coins = {coin.coin: coin for coin in _without_collisions(coins, self._given)}
        self._pair_of = {coin.coin: coin.pair for coin in self._coins.values()} | self._given
        self._coin_of = {pair: coin for coin, pair in self._pair_of.items()}


def _spot_coins(meta: _SpotMeta, tokens: Mapping[int, _Token]) -> list[Coin]:
    coins = []
    for pair in meta.universe:
        base, quote = (tokens.get(index) for index in pair.tokens)
        coin = pair.name if pair.isCanonical else f"@{pair.index}"
        if base is None or quote is None:
            continue  # a pair of tokens that the reply does not describe cannot be named
        decimals = base.szDecimals
        coins.append(
            Coin(
                coin=coin,
                pair=f"{base.name}-{quote.name}",
                kind=InstrumentKind.SPOT,
                base=base.name,
                quote=quote.name,
                settle=quote.name,
                size_decimals=decimals,
                price_decimals_max=SPOT_DECIMALS - decimals,
                max_leverage=None,
                is_active=True,
            )
        )
    return coins


def _perp_coins(meta: _Meta, dex: str, tokens: Mapping[int, _Token]) -> list[Coin]:
    collateral = tokens.get(meta.collateralToken) if meta.collateralToken is not None else None
    settle = collateral.name if collateral else "" if dex else "USDC"
    coins = []
    for asset in meta.universe:
        coin = f"{dex}:{asset.name}" if dex and ":" not in asset.name else asset.name
        base = coin.partition(":")[2] or coin
        if not dex:
            pair = f"{coin}-USD"
        else:
            pair = f"{coin}-{settle}" if settle else coin
        coins.append(
            Coin(
                coin=coin,
                pair=pair,
                kind=InstrumentKind.PERPETUAL,
                base=base,
                quote="USD" if not dex else settle,
                settle=settle,
                size_decimals=asset.szDecimals,
                price_decimals_max=PERP_DECIMALS - asset.szDecimals,
                max_leverage=asset.maxLeverage,
                is_active=not asset.isDelisted,
            )
        )
    return coins


def _outcome_coins(meta: _OutcomeMeta) -> list[Coin]:
    coins = []
    for outcome in meta.outcomes:
        for number, side in enumerate(outcome.sideSpecs):
            coin = f"#{outcome.outcome * 10 + number}"
            base = side.name or coin
            coins.append(
                Coin(
                    coin=coin,
                    pair=coin,
                    kind=InstrumentKind.OUTCOME,
                    base=base,
                    quote="",
                    settle="",
                    size_decimals=None,
                    price_decimals_max=None,
                    max_leverage=None,
                    is_active=True,
                )
            )
    return coins


def _without_collisions(coins: Sequence[Coin], given: Mapping[str, str]) -> list[Coin]:
    """The coins, each with a pair of its own: the one that it was given, or else one that no other coin has."""
    takers: dict[str, list[Coin]] = {}
    for coin in coins:
        if coin.coin not in given:
            takers.setdefault(coin.pair, []).append(coin)
    owners = {pair: coin for coin, pair in given.items()}
    result = []
    for coin in coins:
        if coin.coin in given:
            coin = msgspec.structs.replace(coin, pair=given[coin.coin])
        else:
            rivals = takers[coin.pair]
            canonical = [rival for rival in rivals if not rival.coin.startswith("@")]
            is_first = len(rivals) == 1 or (len(canonical) == 1 and canonical[0] is coin)
            if not is_first or coin.pair in owners:
                coin = msgspec.structs.replace(coin, pair=coin.coin)
        result.append(coin)
    return result
