"""Lines of JSON that hold a time and a frame are what the general decoder reads, or they are left to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.kernels.wrapped_lines import skip_object, split_wrapped_lines

_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(0, 1e6).map(lambda value: round(value, 3))
    | st.text("ab {}[],:0", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
_objects = st.dictionaries(st.text("xyz", max_size=2), _values, max_size=4)
_decode = msgspec.json.Decoder(dict).decode
LEAD, ZONE = b'{"time":"', b'","ver_num":1,"raw":'


def array(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(content, np.uint8)


def split(content: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    times, data, ends = np.zeros(20, np.int64), np.zeros(len(content) + 1, np.uint8), np.zeros(21, np.int64)
    at, rows = split_wrapped_lines(array(content), 0, len(content), array(LEAD), array(ZONE), times, data, ends, 0)
    return at, [(int(times[row]), data[ends[row] : ends[row + 1]].tobytes()) for row in range(rows)]


@given(_objects)
def test_a_plain_object_is_passed_over_to_its_end(value: dict[str, object]) -> None:
    text = msgspec.json.encode(value)
    assert skip_object(array(text + b"}"), 0, len(text) + 1) == len(text)


@given(_objects, st.integers(0, 200), st.sampled_from(list(b'{}[],:"0a. -e\\\xc3')), st.booleans())
def test_what_is_passed_over_is_an_object(value: dict[str, object], at: int, byte: int, replaces: bool) -> None:
    """With a byte changed or put in, it is one for the general decoder too, or it is not passed over."""
    text = msgspec.json.encode(value)
    at %= len(text) + 1
    changed = text[:at] + bytes([byte]) + text[at + replaces :]
    end = skip_object(array(changed), 0, len(changed))
    if end >= 0:
        assert isinstance(_decode(changed[:end]), dict)


@given(st.integers(1_230_768_000, 4_102_444_799), st.integers(0, 10**9 - 1), st.integers(0, 9))
def test_a_time_is_read_to_the_nanosecond(second: int, ns: int, digits: int) -> None:
    """In every year that a receive time is plausible in."""
    stamp = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{ns:09d}"[: digits + 1] if digits else ""
    line = LEAD + stamp.encode() + fraction.encode() + ZONE + b'{"a":1}}\n'
    kept = ns // 10 ** (9 - digits) * 10 ** (9 - digits)
    assert split(line + line) == (2 * len(line), [(second * 10**9 + kept, b'{"a":1}')] * 2)


def test_lines_of_another_form_are_left() -> None:
    good = LEAD + b"2024-02-29T23:59:59.5" + ZONE + b'{"a":[1,{"b":"c"}]}}\n'
    others = [
        good.replace(b"02-29", b"02-30"),
        good.replace(b"2024-02-29", b"2023-02-29"),
        good.replace(b"2024", b"2008"),
        good.replace(b"2024", b"2100"),
        good.replace(b"T23", b"T24"),
        good.replace(b":59.5", b":60.5"),
        good.replace(b".5", b"."),
        good.replace(b"T", b" ", 1),
        good.replace(b'"ver_num":1', b'"ver_num":2'),
        good.replace(b"]}}", b"]}"),
        good.replace(b"]}}", b"]}}}"),
        good.replace(b"}\n", b"}\r\n"),
        good.replace(b'"c"', b'"\\u0063"'),
        good.replace(b"[1,", b"[1e5,"),
        good.replace(b"[1,", b"[1,,"),
        good.replace(b'{"a"', b'["a"'),
        b"\n",
        b'{"time":"2024\n',
    ]
    for line in others:
        assert split(good + line + good) == (len(good), split(good)[1]), line
