"""What a client asks Hyperliquid for by REST beside the streams: one book, one instrument's context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolkit.clock import NS_PER_MS
from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import FORM_REST, BookSnapshot, EventKind, Message
from toolkit.venues.hyperliquid import wire
from toolkit.venues.hyperliquid.convert import FULL_CAP, decode_rest_book, decoded_json, funding_info, level_columns
from toolkit.venues.hyperliquid.lenient import loose
from toolkit.venues.hyperliquid.symbols import dex_of

if TYPE_CHECKING:
    from toolkit.venues.hyperliquid.market import HyperliquidMarketProtocol

__all__ = ["contexts", "rest_book"]


def rest_book(protocol: HyperliquidMarketProtocol, frame: Frame, symbol: str) -> list[Message]:
    """The book of one coin: a form of its own."""
    odd: list[str] = []
    data = decode_rest_book(frame.payload, odd)
    if data is None:
        return [protocol.event(frame, EventKind.REFUSED, detail=f"l2Book: the venue knows no coin {symbol!r}")]
    bids, asks = level_columns(data.levels[0], is_bid=True), level_columns(data.levels[1], is_bid=False)
    messages: list[Message] = [
        BookSnapshot(
            protocol.venue,
            data.coin,
            protocol.coins.pair(data.coin),
            data.time * NS_PER_MS,
            frame.ts_recv,
            frame.capture_seq,
            0,
            FORM_REST,
            True,
            FULL_CAP,
            *bids,
            *asks,
        )
    ]
    protocol.report_odd(frame, odd, messages)
    return messages


def contexts(protocol: HyperliquidMarketProtocol, frame: Frame, symbol: str) -> list[Message]:
    """Funding and prices of one instrument, out of the contexts of all."""
    match decoded_json(frame.payload):
        case [{"universe": list(universe)}, list(all_contexts)]:
            found = _context_of(symbol, universe, all_contexts)
        case _:
            raise ParseError("contexts of another shape than documented: expected a listing and a list")
    if found is None:
        return []
    odd: list[str] = []
    ctx = loose(found, wire.AssetCtx, "contexts", odd)
    if ctx is None or ctx == wire.AssetCtx():
        raise ParseError(f"contexts of another shape than documented: that of {symbol} says nothing")
    messages: list[Message] = [funding_info(protocol.venue, symbol, protocol.coins.pair(symbol), frame, 0, ctx)]
    protocol.report_odd(frame, odd, messages)
    return messages


def _context_of(symbol: str, universe: Sequence[Any], contexts: Sequence[Any]) -> Any:
    """
    The context of one instrument; None if there is none.

    They are positional: the i-th belongs to the i-th instrument of the metadata in the same reply. Those of spot pairs
    say their coin.
    """
    for context in contexts:
        if isinstance(context, dict) and context.get("coin") == symbol:
            return context
    for asset, context in zip(universe, contexts, strict=False):
        if isinstance(asset, dict) and not (isinstance(context, dict) and "coin" in context):
            name = asset.get("name")
            if symbol in (name, f"{dex_of(symbol)}:{name}", f"@{asset.get('index')}"):
                return context
    return None
