"""Messages of every kind, with values from all that their columns can hold."""

from __future__ import annotations

import enum
import types
import typing
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from recordings.format.schema import TABLE_OF, TABLES
from toolkit.frames import FRAME_KINDS, Frame
from toolkit.messages import BookDiff, BookSnapshot, BookTop, Message

#: Every class of message that a table holds, but the derived one.
MESSAGE_CLASSES = [cls for cls in TABLE_OF if cls is not BookTop]

TEXTS = st.text(max_size=8)  # hypothesis leaves surrogates out by itself
FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, -1.5]),
    st.floats(allow_nan=False, allow_infinity=False),
)
INT32S = st.one_of(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1))
INT64S = st.one_of(st.sampled_from([0, 1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
TIMES = st.one_of(st.sampled_from([0, 1, 2**63 - 1, 1_785_000_000_123_456_789]), st.integers(-(2**62), 2**63 - 1))
PRICES = st.floats(min_value=5e-324, max_value=1e15)
SIZES = st.floats(min_value=0.0, max_value=1e15)
SYMBOLS = st.sampled_from(["", "A", "A/B", "#1", "é"])


def _values(hint: Any, column: pa.DataType) -> st.SearchStrategy[Any]:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    found: list[st.SearchStrategy[Any]] = []
    for option in options:
        if option is types.NoneType:
            found.append(st.none())
        elif isinstance(option, type) and issubclass(option, enum.Enum):
            found.append(st.sampled_from(option))
        elif option is bool:
            found.append(st.booleans())
        elif option is float:
            found.append(FLOATS)
        elif option is str:
            found.append(TEXTS)
        elif pa.types.is_timestamp(column):
            found.append(TIMES)
        else:
            found.append(INT32S if column == pa.int32() else INT64S)
    return st.one_of(found)


def _levels(is_bid: bool) -> st.SearchStrategy[list[tuple[float, float]]]:
    levels = st.dictionaries(PRICES, SIZES, max_size=4)
    return levels.map(lambda side: sorted(side.items(), reverse=is_bid))


@st.composite
def _book(draw: st.DrawFn, cls: Any, rest: dict[str, st.SearchStrategy[Any]]) -> Message:
    bids, asks = draw(_levels(True)), draw(_levels(False))
    counted = draw(st.booleans())
    counts = st.integers(0, 2**31 - 1)
    message: Message = cls(
        **{name: draw(values) for name, values in rest.items()},
        bid_prices=tuple(price for price, _ in bids),
        bid_sizes=tuple(size for _, size in bids),
        bid_counts=tuple(draw(counts) for _ in bids) if counted else (),
        ask_prices=tuple(price for price, _ in asks),
        ask_sizes=tuple(size for _, size in asks),
        ask_counts=tuple(draw(counts) for _ in asks) if counted else (),
    )
    return message


def messages(cls: Any) -> st.SearchStrategy[Message]:
    """Messages of a class, of any symbol, not in any order."""
    schema = TABLES[TABLE_OF[cls]]
    hints = typing.get_type_hints(cls)
    fields = {
        name: _values(hints[name], schema.field(name).type)
        for name in cls.__struct_fields__
        if not name.startswith(("bid_p", "ask_p", "bid_s", "ask_s", "bid_c", "ask_c"))
        or cls not in (BookSnapshot, BookDiff)
    }
    fields |= {"symbol": SYMBOLS, "venue": st.sampled_from(["v", "w"])}
    fields |= {"capture_seq": st.integers(0, 2**40), "sub_seq": st.integers(0, 2**20)}
    if cls in (BookSnapshot, BookDiff):
        return _book(cls, fields)
    return st.builds(cls, **fields)


FRAMES = st.builds(
    Frame,
    INT64S,
    TIMES,
    INT64S,
    TEXTS,
    INT32S,
    INT32S,
    st.sampled_from(FRAME_KINDS),
    st.one_of(st.binary(max_size=12), TEXTS.map(str.encode)),
    st.one_of(st.none(), TEXTS),
)
