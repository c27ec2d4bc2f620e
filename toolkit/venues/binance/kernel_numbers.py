"""
Numbers by which the kernel and what calls it name the same places of an array.

A name costs compiled code nothing: it is a constant there.
"""

from __future__ import annotations

from typing import Final

# Places in `Run.counts`.
DIFFS: Final = 0
QUOTES: Final = 1
TRADES: Final = 2
TOPS: Final = 3
LEVEL_ROWS: Final = 4
IMPRECISE: Final = 5
DUPLICATES: Final = 6
COUNTS_END: Final = 7

# Places in `Run.needed`: what a frame needs that found an array full, and the number of its instrument.
PAGES: Final = 0
FREE_SLOTS: Final = 1
SIDE_LEVELS: Final = 2
HASHED_BYTES: Final = 3
INSTRUMENT: Final = 4
NEEDED_END: Final = 5

# Places in `Pieces.ends`: the canonical bytes before each value that differs from message to message. Of all kinds:
BEFORE_TS_RECV: Final = 0
BEFORE_CAPTURE_SEQ: Final = 1
# Of diffs:
BEFORE_BID_PRICES: Final = 2
BEFORE_BID_SIZES: Final = 3
BEFORE_ASK_PRICES: Final = 4
BEFORE_ASK_SIZES: Final = 5
BEFORE_FIRST_UPDATE_ID: Final = 6
BEFORE_LAST_UPDATE_ID: Final = 7
BEFORE_PREV_UPDATE_ID: Final = 8
# Of quotes:
BEFORE_BID_PRICE: Final = 9
BEFORE_BID_SIZE: Final = 10
BEFORE_ASK_PRICE: Final = 11
BEFORE_ASK_SIZE: Final = 12
BEFORE_UPDATE_ID: Final = 13
# Of trades, whose side is in the first of them:
BEFORE_PRICE_OF_BUY: Final = 14
BEFORE_PRICE_OF_SELL: Final = 15
BEFORE_SIZE: Final = 16
BEFORE_TRADE_ID: Final = 17
IS_DUPLICATE: Final = 18
# Of diffs that wait for a snapshot, in place of the first of diffs:
BEFORE_BID_PRICES_WAITING: Final = 19
