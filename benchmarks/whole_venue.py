"""
A market of any number of pairs, as Hyperliquid sends it: books, best quotes and trades, at thousands of frames a second.

The mix of frames is the same for any number of pairs, so that what a frame costs can be compared: of a hundred frames
two are full books, twelve fast ones, sixty-four quotes and twenty-two trades. Pairs are not alike: the busiest have most
of the frames, as on the venue. The same arguments give the same frames.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.journal.journal_reader import PENDING_BYTES_MAX, JournalWriter
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.digest import DIGEST_VERSION
from toolkit.frames import WS_IN, Frame
from toolkit.rng import seeded
from toolkit.venues.hyperliquid import HyperliquidMarketProtocol

__all__ = ["FRAMES_PER_S", "coin_names", "venue_frames", "write_journal"]

FRAMES_PER_S: Final = 4_000
_VENUE: Final = "hyperliquid"
_GENESIS_NS: Final = 1_767_225_600 * NS_PER_S
#: The monotonic clock of a live session counts from some other time than the wall clock.
_MONO_ZERO_NS: Final = 1_700_000_000 * NS_PER_S
#: Frames arrive so long after the block that they are of.
_DELAY_NS: Final = 80 * NS_PER_MS
_LEVELS: Final = 20
_FAST_LEVELS: Final = 5
_KINDS: Final = ("full", "fast", "bbo", "trades")
_SHARES: Final = (2, 12, 64, 22)


class _Coin:
    """A book of twenty levels a side: prices in ticks, sizes in steps."""

    def __init__(self, name: str, decimals: int, middle: int, draw: random.Random) -> None:
        self.name = name
        self.decimals = decimals
        self.tick = 10.0**-decimals
        self.best_bid = middle
        self.spread = 1
        self.gaps = [[draw.choice((1, 1, 1, 2, 3)) for _ in range(_LEVELS)] for _ in range(2)]
        self.sizes = [[self._size(draw) for _ in range(_LEVELS)] for _ in range(2)]
        self.counts = [[draw.randrange(1, 12) for _ in range(_LEVELS)] for _ in range(2)]

    def change(self, draw: random.Random) -> None:
        """What happens in a block: the best sizes change, now and then the price moves, and deeper levels."""
        for side in range(2):
            self.sizes[side][0] = self._size(draw)
        if draw.random() < 0.25:
            step = draw.choice((-1, 1))
            self.best_bid = max(self.best_bid + step, 100)
            for side in range(2):
                self.sizes[side] = [self._size(draw), *self.sizes[side][:-1]]
                self.counts[side] = [draw.randrange(1, 12), *self.counts[side][:-1]]
        for _ in range(2):
            side, place = draw.randrange(2), draw.randrange(_LEVELS)
            self.sizes[side][place] = self._size(draw)
            self.counts[side][place] = draw.randrange(1, 12)

    def price(self, ticks: int) -> str:
        return f"{ticks * self.tick:.{self.decimals}f}"

    def levels(self, side: int, count: int) -> str:
        ticks = self.best_bid if side == 0 else self.best_bid + self.spread
        parts = []
        for gap, size, orders in zip(self.gaps[side][:count], self.sizes[side], self.counts[side], strict=False):
            parts.append(f'{{"px":"{self.price(ticks)}","sz":"{size}","n":{orders}}}')
            ticks += -gap if side == 0 else gap
        return f"[{','.join(parts)}]"

    @staticmethod
    def _size(draw: random.Random) -> str:
        # Most sizes are round, and few are anything else.
        return str(draw.choice((0.5, 1.0, 2.0, 10.0))) if draw.random() < 0.3 else f"{0.001 + draw.random() * 50:.3f}"


def coin_names(count: int) -> list[str]:
    """What the coins of so many pairs are called."""
    return [f"C{number:03d}" for number in range(count)]


def venue_frames(pairs: int, count: int, *, seed: int = 14) -> Iterator[tuple[int, bytes]]:
    """`count` frames of so many pairs, each with its receive time, ns."""
    draw = seeded(f"whole-venue/{seed}/{pairs}")
    coins = [_Coin(name, draw.randrange(5), draw.randrange(1_000, 50_000), draw) for name in coin_names(pairs)]
    weights = list(accumulate(1 / (rank + 4) for rank in range(pairs)))
    shares = list(accumulate(_SHARES))
    trade_id = 0
    for number in range(count):
        ts_recv = _GENESIS_NS + number * NS_PER_S // FRAMES_PER_S
        time_ms = (ts_recv - _DELAY_NS) // NS_PER_MS
        coin = coins[number] if number < pairs else draw.choices(coins, cum_weights=weights)[0]
        kind = "full" if number < pairs else draw.choices(_KINDS, cum_weights=shares)[0]
        coin.change(draw)
        if kind == "trades":
            trades = []
            for _ in range(draw.choice((1, 1, 1, 2, 4))):
                trade_id += draw.randrange(1, 1_000)
                side = draw.randrange(2)
                price = coin.price(coin.best_bid + side * coin.spread)
                trades.append(
                    f'{{"coin":"{coin.name}","side":"{"AB"[side]}","px":"{price}","sz":"{coin.sizes[side][0]}",'
                    f'"time":{time_ms},"tid":{trade_id},"hash":"0x{trade_id:064x}"}}'
                )
            text = f'{{"channel":"trades","data":[{",".join(trades)}]}}'
        elif kind == "bbo":
            bid, ask = coin.levels(0, 1)[1:-1], coin.levels(1, 1)[1:-1]
            text = f'{{"channel":"bbo","data":{{"coin":"{coin.name}","time":{time_ms},"bbo":[{bid},{ask}]}}}}'
        else:
            depth, fast = (_LEVELS, "") if kind == "full" else (_FAST_LEVELS, ',"fast":true')
            sides = f"[{coin.levels(0, depth)},{coin.levels(1, depth)}]"
            text = f'{{"channel":"l2Book","data":{{"coin":"{coin.name}","time":{time_ms},"levels":{sides}{fast}}}}}'
        yield ts_recv, text.encode()


def write_journal(folder: Path, pairs: int, count: int, *, segments: int = 1) -> list[int]:
    """The journals of a recorder that has died, and the manifest beside them; how many bytes each has."""
    names = tuple(f"{name}-USD" for name in coin_names(pairs))
    source = SourceInfo(_VENUE, HyperliquidMarketProtocol.version, names)
    write_manifest(folder, Manifest(created_ns=_GENESIS_NS, sources=[source], digest_version=DIGEST_VERSION))
    frames = enumerate(venue_frames(pairs, count))
    sizes = []
    for number in range(segments):
        journal = JournalWriter(folder, number)
        last = count * (number + 1) // segments - 1
        for seq, (ts_recv, payload) in frames:
            journal.append(Frame(seq, ts_recv, ts_recv - _MONO_ZERO_NS, _VENUE, 0, 0, WS_IN, payload))
            if journal.pending_bytes > PENDING_BYTES_MAX // 2:
                journal.drain()  # frames are made faster than any venue sends them, and than the disk may take them
            if seq == last:
                break
        journal.close()
        sizes.append(journal.byte_count)
    return sizes
