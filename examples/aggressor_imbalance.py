"""
Trades as they come: which side takes, in blocks of so many trades a pair and venue.

Example:  python -m examples.aggressor_imbalance tapes/monday 20
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import tickdeck as td


async def imbalances(folder: Path, block: int) -> list[tuple[td.PairKey, float]]:
    """
    Share of bought minus share of sold size, by venue and pair, for every `block` of its trades.

    Trades from before the subscription and repeated ones are left out: they are no news.
    """
    source = td.replay(folder)
    sizes: dict[td.PairKey, list[float]] = {}
    found: list[tuple[td.PairKey, float]] = []
    # The iterator is taken before the source starts, so that it misses nothing; a live source works alike.
    trades = source.listen_for_trades()
    async with source:
        async for trade in trades:
            if trade.is_history or trade.is_duplicate:
                continue
            signed = sizes.setdefault(trade.key, [])
            signed.append(trade.size if trade.aggressor_side is td.Side.BUY else -trade.size)
            if len(signed) == block:
                found.append((trade.key, sum(signed) / sum(map(abs, signed))))
                signed.clear()
    return found


def main(folder: Path, block: int) -> None:
    """Print them."""
    for key, imbalance in asyncio.run(imbalances(folder, block)):
        # A name is the venue's: `printable` leaves nothing in it that a terminal obeys.
        print(
            f"{key.venue:<13} {td.printable(key.trading_pair):<12} {imbalance:+.3f}  {'#' * round(abs(imbalance) * 30)}"
        )


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3 or not (sys.argv[2:] or ["1"])[0].isdigit():
        sys.exit("usage: python -m examples.aggressor_imbalance RECORDING [TRADES]")
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
    except td.TickdeckError as exc:
        sys.exit(f"Error: {exc}")
