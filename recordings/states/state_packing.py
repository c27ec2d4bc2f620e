"""
States as few bytes: what `recordings/states/checkpoints.py` and `recordings/states/seek_points.py` keep in their files.

The weight of a state is in the newest messages of each pair (a late one is put in its place among them) and in the
levels of deep books. As MessagePack these are several times the tape that they stand for; so they are taken out of the
state, and kept as columns over all messages of a kind: whole numbers of a common count of decimals or steps, byte by
byte of all of them, and every distinct word once. What is left compresses well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from toolkit.books.book_fusion import FusedMessage
from toolkit.books.orderbook import KeptColumns
from toolkit.books.tracker import PairState, TrackerState
from toolkit.errors import RecordingDamaged
from toolkit.messages import BestQuote, BookSnapshot

__all__ = ["Checkpoint", "pack_state", "state_weight", "unpack_state"]

#: A quarter longer than at the lowest levels, and a tenth smaller; a higher one saves nothing.
_LEVEL: Final = 9
#: A state counts for a twentieth of its bytes at least, however well they compress: taking it costs as much as they are.
_PACKED_TO: Final = 20
#: Numbers are kept as whole ones of this many decimals where that is exact, else as they are.
_DECIMALS_MAX: Final = 12
_AS_IS: Final = 255
#: So many numbers show for most counts of decimals that they are too few.
_SAMPLE: Final = 32
#: Of so many it is looked up how they are spelled.
_FIRST: Final = 4
#: What comes of bytes that are no state: some are found as late as what was taken apart is put together again.
_DAMAGE: Final = (
    pa.ArrowException,
    msgspec.MsgspecError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    StopIteration,
)
_NO_LEVELS: Final[KeptColumns] = ((), (), ())
#: Their rows, in this order.
_CLASSES: Final[tuple[type[FusedMessage], ...]] = (BestQuote, BookSnapshot)

_Side = tuple[bytes, bytes, tuple[int | None, ...]]


class Checkpoint(msgspec.Struct):
    """
    Everything that later messages, books and digests depend on.

    Attributes:
        protocols: `VenueProtocol.checkpoint` of each venue.
        tracker: The order books.
        digest: State of the digest chain.
        top: The last row of `top` per pair.
        conn_id_max: Highest connection number so far; -1 if there was none.
    """

    protocols: dict[str, bytes]
    tracker: TrackerState
    digest: bytes
    top: dict[str, tuple[float | None, float | None, float | None, float | None, bool]]
    conn_id_max: int


class _Packed(msgspec.Struct):
    """
    A state in pieces.

    Attributes:
        state: Without the levels and the messages of its books.
        sides: Levels of each pair's fused book, then of its diff books.
        recent: How many newest messages each pair has.
        latest: The forms that each pair has a last message of.
        keys: Keys of the newest messages: time of their place, from their own time on, its depth, and depth of their
            form.
        kinds: Place in `_CLASSES` of each message: the newest of a pair, then the last of its forms, pair by pair.
        fields: Columns of each class, by the names of its fields.
        places: Place of each last message of a form among the newest of the pair, if it is one of them and not
            repeated; else -1. Earlier versions repeated all.
    """

    state: Checkpoint
    sides: list[_Side]
    recent: list[int]
    latest: list[list[str]]
    keys: list[Any]
    kinds: bytes
    fields: list[dict[str, Any]]
    places: list[Any] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def pack_state(state: Checkpoint) -> tuple[bytes, int]:
    """The state as bytes, and how many they are before they are compressed."""
    sides: list[_Side] = []

    def apart(columns: KeptColumns) -> KeptColumns:
        prices, sizes, counts = columns
        sides.append((_packed_floats(prices, in_steps=True), _packed_floats(sizes, in_steps=False), counts))
        return _NO_LEVELS

    pairs = state.tracker.pairs
    recent = [entry for pair in pairs for entry in pair.fusion.recent]
    places = [_places(pair) for pair in pairs]
    messages = [
        message
        for pair, found in zip(pairs, places, strict=True)
        for message in chain(
            (message for _, _, message in pair.fusion.recent),
            (message for message, place in zip(pair.latest.values(), found, strict=True) if place < 0),
        )
    ]
    bare = [
        msgspec.structs.replace(pair, fusion=msgspec.structs.replace(pair.fusion, recent=[]), latest={})
        for pair in pairs
    ]
    packed = _Packed(
        _with_levels(_with_pairs(state, bare), apart),
        sides,
        [len(pair.fusion.recent) for pair in pairs],
        [list(pair.latest) for pair in pairs],
        [
            _packed_values([_wrapped(ts - (message.ts_event or 0)) for (ts, _), _, message in recent]),
            _packed_values([depth for (_, depth), _, _ in recent]),
            _packed_values([cap for _, cap, _ in recent]),
        ],
        bytes(_CLASSES.index(type(message)) for message in messages),
        [_packed_messages([each for each in messages if type(each) is kind], kind) for kind in _CLASSES],
        _packed_values(list(chain.from_iterable(places))),
    )
    content = _encode(packed)
    return pa.Codec("zstd", _LEVEL).compress(content, asbytes=True), len(content)


def state_weight(packed_bytes: int, size: int) -> int:
    """Bytes that a state counts for, of those that it takes and those that it has before it is compressed."""
    return max(packed_bytes, size // _PACKED_TO)


def _places(pair: PairState) -> list[int]:
    """Of the last message of each form where it is among the newest messages, or -1."""
    found = {id(message): place for place, (_, _, message) in enumerate(pair.fusion.recent)}
    return [found.get(id(message), -1) for message in pair.latest.values()]


def unpack_state(content: bytes, size: int) -> Checkpoint:
    """
    The state that `pack_state` packed into these bytes.

    Raises RecordingDamaged if they are none of this version's.
    """
    try:
        return _unpacked(_decode(pa.Codec("zstd").decompress(content, size, asbytes=True)))
    except _DAMAGE as exc:
        raise RecordingDamaged(f"a state is damaged ({str(exc) or type(exc).__name__})") from None


def _unpacked(packed: _Packed) -> Checkpoint:
    sides = iter(packed.sides)

    def back(_: KeptColumns) -> KeptColumns:
        prices, sizes, counts = next(sides)
        return tuple(_unpacked_floats(prices)), tuple(_unpacked_floats(sizes)), counts

    of_kind = [iter(_unpacked_messages(columns, kind)) for columns, kind in zip(packed.fields, _CLASSES, strict=True)]
    messages: Iterator[FusedMessage] = (next(of_kind[kind]) for kind in packed.kinds)
    keys = zip(*map(_unpacked_values, packed.keys), strict=True)
    places = chain() if packed.places is None else iter(_unpacked_values(packed.places))
    pairs: list[PairState] = []
    for bare, count, forms in zip(packed.state.tracker.pairs, packed.recent, packed.latest, strict=True):
        recent = []
        for _ in range(count):
            ts, depth, cap = next(keys)
            message = next(messages)
            recent.append(((_wrapped(ts + (message.ts_event or 0)), depth), cap, message))
        fusion = msgspec.structs.replace(bare.fusion, recent=recent)
        latest = {}
        for form in forms:
            place = next(places) if packed.places is not None else -1
            latest[form] = recent[place][2] if place >= 0 else next(messages)
        pairs.append(msgspec.structs.replace(bare, fusion=fusion, latest=latest))
    return _with_levels(_with_pairs(packed.state, pairs), back)


def _with_pairs(state: Checkpoint, pairs: list[PairState]) -> Checkpoint:
    return msgspec.structs.replace(state, tracker=msgspec.structs.replace(state.tracker, pairs=pairs))


def _with_levels(state: Checkpoint, change: Callable[[KeptColumns], KeptColumns]) -> Checkpoint:
    """The state with other levels in its books: what `change` makes of each side, always in the same order."""
    replace = msgspec.structs.replace
    pairs = [
        replace(
            pair,
            fusion=replace(pair.fusion, bids=change(pair.fusion.bids), asks=change(pair.fusion.asks)),
            diff_books={
                form: (change(bids), change(asks), *rest) for form, (bids, asks, *rest) in pair.diff_books.items()
            },
        )
        for pair in state.tracker.pairs
    ]
    return _with_pairs(state, pairs)


# -- columns -----------------------------------------------------------------------------------------------------------


def _packed_messages(messages: Sequence[FusedMessage], kind: type[FusedMessage]) -> dict[str, Any]:
    if not messages:
        return {}
    columns = map(list, zip(*map(msgspec.structs.astuple, messages), strict=True))
    fields: dict[str, list[Any]] = dict(zip(kind.__struct_fields__, columns, strict=True))
    fields["ts_event"] = _apart(fields["ts_recv"], fields["ts_event"])
    return {name: _packed_values(column, in_steps="price" in name) for name, column in fields.items()}


def _unpacked_messages(columns: dict[str, Any], kind: type[FusedMessage]) -> list[FusedMessage]:
    if not columns:
        return []
    if tuple(columns) != kind.__struct_fields__:
        raise ValueError(f"{kind.__name__} has other fields in this version")
    fields = {name: _unpacked_values(column) for name, column in columns.items()}
    fields["ts_event"] = _apart(fields["ts_recv"], fields["ts_event"])
    return list(map(kind, *fields.values()))


def _apart(times: list[int], others: list[int | None]) -> list[int | None]:
    """How far others are from times that are known, or the other way round: the venue's are a little before ours."""
    return [None if other is None else _wrapped(time - other) for time, other in zip(times, others, strict=True)]


def _wrapped(number: int) -> int:
    """As 64 bits have it: a place before all others lies further from a time than they can say."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _packed_values(values: list[Any], *, in_steps: bool = False) -> Any:
    """
    A column of anything that a message holds: `[how, ...]`.

    `in_steps` keeps the difference of each number from the one before, which suits prices.
    """
    kinds = set(map(type, values))
    if kinds == {float}:
        return ["float", _packed_floats(values, in_steps=in_steps)]
    if kinds == {int} and min(values) > -(1 << 62) and max(values) < 1 << 62:
        return ["int", _planes(np.diff(np.array(values, np.int64), prepend=0))]
    if kinds == {tuple}:
        flat = list(chain.from_iterable(values))
        return ["tuple", _packed_values(list(map(len, values))), _packed_values(flat, in_steps=in_steps)]
    if len(kinds) == 2 and type(None) in kinds and not kinds & {str, bool}:
        is_there = np.array([value is not None for value in values])
        there = [value for value in values if value is not None]
        return ["some", len(values), np.packbits(is_there).tobytes(), _packed_values(there, in_steps=in_steps)]
    words = list(dict.fromkeys(values)) if kinds <= {str, type(None)} or kinds == {bool} else None
    if words is None:
        return ["any", values]
    places = {word: place for place, word in enumerate(words)}
    return ["words", words, _planes(np.array([places[value] for value in values], np.int64))]


def _unpacked_values(packed: Sequence[Any]) -> list[Any]:
    how = packed[0]
    if how == "float":
        return _unpacked_floats(packed[1])
    if how == "int":
        found: list[Any] = np.cumsum(_words_of(packed[1])).tolist()
        return found
    if how == "tuple":
        flat = tuple(_unpacked_values(packed[2]))
        ends = accumulate(_unpacked_values(packed[1]), initial=0)
        return [flat[begin:end] for begin, end in pairwise(ends)]
    if how == "some":
        there = iter(_unpacked_values(packed[3]))
        is_there = np.unpackbits(np.frombuffer(packed[2], np.uint8), count=packed[1]).tolist()
        return [next(there) if has else None for has in is_there]
    if how == "words":
        return list(map(packed[1].__getitem__, _words_of(packed[2]).tolist()))
    return list(packed[1])


def _packed_floats(values: Sequence[float], *, in_steps: bool) -> bytes:
    """Numbers as bytes that compress well: how many decimals, whether in steps, and the whole numbers."""
    if not values:
        return bytes((0, in_steps))
    column: Any = np.array(values, np.float64)
    # As many as the first ones have at least, and no number with fewer is the same float64.
    for decimals in range(_decimals_of(values[:_FIRST]), _DECIMALS_MAX + 1):
        scale = 10.0**decimals
        if not _is_whole(column[:_SAMPLE], scale):
            continue
        if _is_whole(column, scale) and not np.signbit(column).any():  # a whole number knows no -0.0
            words = np.rint(column * scale).astype(np.int64)
            if in_steps:
                words = np.diff(words, prepend=0)
            break
    else:
        decimals, words = _AS_IS, column.view(np.int64)
    return bytes((decimals, in_steps)) + _planes(words)


def _decimals_of(values: Sequence[float]) -> int:
    """The decimals that some numbers are spelled with, where they are spelled without an exponent."""
    parts = [repr(float(value)).partition(".") for value in values]
    return max((len(digits) for _, _, digits in parts if digits != "0" and "e" not in digits), default=0)


def _is_whole(column: Any, scale: float) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.rint(column * scale)
        return bool((np.abs(whole) < 1 << 53).all() and (whole / scale == column).all())


def _unpacked_floats(packed: bytes) -> list[Any]:
    decimals, in_steps = packed[0], packed[1]
    words = _words_of(packed[2:])
    found: list[Any]
    if decimals == _AS_IS:
        found = words.view(np.float64).tolist()
    else:
        found = ((np.cumsum(words) if in_steps else words) / 10.0**decimals).tolist()
    return found


def _planes(words: Any) -> bytes:
    """Whole numbers byte by byte of all of them; of small ones the high bytes are all alike."""
    zigzag = (words << 1) ^ (words >> 63)  # so that small negative ones are small, too
    planes: bytes = np.ascontiguousarray(zigzag.astype("<i8").view(np.uint8).reshape(-1, 8).T).tobytes()
    return planes


def _words_of(planes: bytes) -> Any:
    columns: Any = np.frombuffer(planes, np.uint8).reshape(8, -1)
    zigzag = np.ascontiguousarray(columns.T).view("<u8").reshape(-1)
    return (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
