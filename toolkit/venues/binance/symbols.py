"""
Binance's symbols and our trading pairs.

| symbol          | what                        | pair                                              |
|-----------------|-----------------------------|---------------------------------------------------|
| `BTCUSDT`       | spot, USD-M perpetual       | base and quote, `BTC-USDT`                        |
| `BTCUSDT_260925`| USD-M delivery contract     | with its date, `BTC-USDT-260925`                  |
| `BTCUSD_PERP`   | COIN-M perpetual            | `BTC-USD`                                         |
| `BTCUSD_260925` | COIN-M delivery contract    | `BTC-USD-260925`                                  |
| `1000PEPEUSDT`  | counted in thousands        | `1000PEPE-USDT`; the factor is in `multiplier`    |

`exchangeInfo` says where a symbol's base ends. Without it (an import) a pair is known by spelling only where there is
one way to read it: COIN-M is quoted in USD throughout, and elsewhere the symbol must end in one of `QUOTES`, none of
which is the end of another quote currency of the venue. Every other symbol stands for its pair.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from toolkit.errors import ParseError, SymbolError
from toolkit.messages import InstrumentKind

__all__ = ["Listed", "SymbolTable", "pair_from_spelling", "parse_exchange_info"]

#: Quote currencies whose name ends no other one's, by which most instruments are quoted.
QUOTES: Final = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB")
_COIN_M: Final = re.compile(r"(.+)USD_(PERP|\d{6})")
_DELIVERY: Final = re.compile(r"\d{6}")
#: Units of the coin that one unit of size stands for, in the names of contracts on cheap coins.
_MULTIPLIER: Final = re.compile(r"(1(?:000)+|1M)(?=[A-Z])")


class Listed(msgspec.Struct, frozen=True):
    """
    An instrument as `exchangeInfo` describes it.

    Attributes:
        symbol: The venue's spelling.
        pair: Ours.
        kind: Kind of contract.
        base: Base currency.
        quote: Currency of prices.
        settle: Currency of margin; on spot the quote.
        price_tick: Smallest price step; None where the reply has no such filter.
        size_step: Smallest size step, in base currency, or in contracts where there is a `contract_value`.
        min_notional: Smallest order value, in quote currency.
        contract_value: Value of one contract in quote currency (COIN-M); None where sizes are in base currency.
        multiplier: Units of the coin in one unit of size.
        is_trading: Whether it is open.
        status: Status in the venue's words.
    """

    symbol: str
    pair: str
    kind: InstrumentKind
    base: str
    quote: str
    settle: str
    price_tick: float | None
    size_step: float | None
    min_notional: float | None
    contract_value: float | None
    multiplier: float
    is_trading: bool
    status: str


def _pair(base: str, quote: str, suffix: str) -> str:
    return f"{base}-{quote}-{suffix}" if suffix and suffix != "PERP" else f"{base}-{quote}"


def pair_from_spelling(symbol: str) -> str:
    """The pair where the symbol can be read in one way only, else the symbol."""
    match = _COIN_M.fullmatch(symbol)
    if match is not None:
        return _pair(match[1], "USD", match[2])
    head, separator, suffix = symbol.partition("_")
    if separator and not _DELIVERY.fullmatch(suffix):
        return symbol
    for quote in QUOTES:
        if head.endswith(quote) and head != quote:
            return _pair(head.removesuffix(quote), quote, suffix)
    return symbol


class _Filter(msgspec.Struct):
    filterType: str
    tickSize: float | None = None
    stepSize: float | None = None
    minNotional: float | None = None
    notional: float | None = None


class _Symbol(msgspec.Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str = ""
    contractStatus: str = ""
    contractType: str = ""
    marginAsset: str = ""
    contractSize: float | None = None
    filters: list[msgspec.Raw] = []


class _ExchangeInfo(msgspec.Struct):
    symbols: list[msgspec.Raw]


class _Named(msgspec.Struct):
    symbol: str = ""


_decode = msgspec.json.Decoder(_ExchangeInfo).decode
_decode_symbol = msgspec.json.Decoder(_Symbol, strict=False).decode
_decode_filter = msgspec.json.Decoder(_Filter, strict=False).decode
_decode_named = msgspec.json.Decoder(_Named).decode


def parse_exchange_info(payload: bytes, *, is_spot: bool) -> tuple[list[Listed], list[str]]:
    """
    The instruments of an `exchangeInfo`, in its order, and what names the entries that are none.

    An entry that cannot be understood, or a filter, takes nothing from the others. Raises ParseError for a reply of
    another shape than documented.
    """
    try:
        entries = _decode(payload).symbols
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ParseError(f"exchangeInfo of another shape than documented: {exc}") from None
    rows: list[Listed] = []
    odd: list[str] = []
    for place, entry in enumerate(entries):
        try:
            row = _decode_symbol(entry)
            if not row.symbol or not row.baseAsset or not row.quoteAsset:
                raise ParseError("an entry without a name")
            rows.append(_listed(row, is_spot=is_spot))
        except (msgspec.DecodeError, UnicodeDecodeError, ParseError):
            odd.append(_name_of(entry) or f"entry {place}")
    return rows, odd


def _name_of(entry: msgspec.Raw) -> str:
    try:
        return _decode_named(entry).symbol
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _filters(row: _Symbol) -> dict[str, _Filter]:
    found = {}
    for entry in row.filters:
        try:
            rule = _decode_filter(entry)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # what it bounds is not known then
        found[rule.filterType] = rule
    return found


def _listed(row: _Symbol, *, is_spot: bool) -> Listed:
    filters = _filters(row)
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    suffix = row.symbol.partition("_")[2]
    status = row.status or row.contractStatus
    if is_spot:
        kind = InstrumentKind.SPOT
    else:
        kind = InstrumentKind.FUTURE if _DELIVERY.fullmatch(suffix) else InstrumentKind.PERPETUAL
    match = _MULTIPLIER.match(row.baseAsset)
    factor = 1.0 if match is None else float(match[1].replace("M", "000000"))
    return Listed(
        symbol=row.symbol,
        pair=_pair(row.baseAsset, row.quoteAsset, "" if is_spot else suffix),
        kind=kind,
        base=row.baseAsset,
        quote=row.quoteAsset,
        settle=row.marginAsset or row.quoteAsset,
        price_tick=price.tickSize if price else None,
        size_step=lot.stepSize if lot else None,
        min_notional=(notional.minNotional if notional.minNotional is not None else notional.notional)
        if notional
        else None,
        contract_value=row.contractSize,
        multiplier=factor,
        is_trading=status == "TRADING",
        status=status,
    )


class SymbolTable:
    """All instruments that `exchangeInfo` listed, and the pairs of those it did not."""

    def __init__(self) -> None:
        self._listed: dict[str, Listed] = {}
        self._pair_of: dict[str, str] = {}
        self._symbol_of: dict[str, str] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no `exchangeInfo` has come yet."""
        return not self._listed

    def get(self, symbol: str) -> Listed | None:
        """What the venue says of a symbol; None if it did not."""
        return self._listed.get(symbol)

    def listed(self) -> Iterable[Listed]:
        """All of them, in the venue's order."""
        return self._listed.values()

    def pair(self, symbol: str) -> str:
        """Our spelling; the symbol itself where no pair is known."""
        pair = self._pair_of.get(symbol)
        if pair is None:
            pair = pair_from_spelling(symbol)
            if self._symbol_of.get(pair, symbol) != symbol:
                pair = symbol  # a listed symbol owns the pair that this one is spelled like
            self._pair_of[symbol] = pair
            self._symbol_of.setdefault(pair, symbol)
        return pair

    def symbol(self, name: str) -> str:
        """The symbol of a pair; a symbol is taken as it is. Raises SymbolError with the closest names."""
        if name in self._symbol_of:
            return self._symbol_of[name]
        if name in self._pair_of:
            return name
        names = [*self._symbol_of, *self._pair_of]
        close = difflib.get_close_matches(name.upper(), names, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise SymbolError(f"the venue lists no {name!r} (pairs are spelled BTC-USDT, symbols BTCUSDT){hint}")

    def update(self, rows: Iterable[Listed], given: Mapping[str, str] = MappingProxyType({})) -> None:
        """
        Take in an `exchangeInfo`.

        Symbols that would share a pair keep their own spelling for it. What was listed before keeps its name, and so
        does what was spoken of by another one before it was listed (`given`, pair by symbol): all messages of a
        recording that are of one instrument have one pair.
        """
        rows = list(rows)
        takers: dict[str, int] = {}
        for row in rows:
            takers[row.pair] = takers.get(row.pair, 0) + 1
        owners = {pair: symbol for symbol, pair in given.items()}
        owners |= {row.pair: row.symbol for row in self._listed.values()}
        for row in rows:
            known = self._listed.get(row.symbol)
            pair = given.get(row.symbol) if known is None else known.pair
            if pair is None:
                is_shared = takers[row.pair] > 1 or owners.get(row.pair, row.symbol) != row.symbol
                pair = row.symbol if is_shared else row.pair
            if pair != row.pair:
                row = msgspec.structs.replace(row, pair=pair)
            self._listed[row.symbol] = row
            self._pair_of[row.symbol] = pair
            self._symbol_of[pair] = row.symbol

    def export(self) -> Any:
        """What the venue reported, for a checkpoint; other pairs follow from it and the spelling of their symbols."""
        return msgspec.to_builtins(list(self._listed.values()))

    def restore(self, state: Any) -> None:
        """Become the table that `export` described."""
        self._listed = {row.symbol: row for row in msgspec.convert(state, list[Listed])}
        self._pair_of = {row.symbol: row.pair for row in self._listed.values()}
        self._symbol_of = {row.pair: row.symbol for row in self._listed.values()}
