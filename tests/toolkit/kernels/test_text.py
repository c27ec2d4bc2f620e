"""What the kernels read from text is what the general decoder reads, or they leave it alone."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.kernels.text import POWERS, read_decimal, read_int, skip_value

_decode_float = msgspec.json.Decoder(float, strict=False).decode
_decode_int = msgspec.json.Decoder(int).decode
_decode_any = msgspec.json.Decoder().decode

_digits = st.text("0123456789", min_size=0, max_size=20)
#: Mostly decimals, of every shape that is nearly one.
_numbers = st.builds(lambda sign, whole, point, rest, tail: sign + whole + point + rest + tail,
                     st.sampled_from(["", "", "", "-", "+"]), _digits, st.sampled_from(["", ".", ".", ".."]), _digits,
                     st.sampled_from(["", "", "", "e5", "E-3", " ", "x"]))  # fmt: skip


def array(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(text.encode("latin-1"), np.uint8)


@given(_numbers)
def test_a_decimal_is_read_to_the_last_bit_or_not_at_all(text: str) -> None:
    quoted = f'"{text}"'
    after, mantissa, decimals = read_decimal(array(quoted), 0, len(quoted))
    if after < 0:
        return
    assert after == len(quoted)
    value = _decode_float(quoted.encode())
    assert mantissa / POWERS[decimals] == value
    assert math.copysign(1.0, value) == 1.0


@given(st.decimals(0, 10**12, places=6), st.integers(0, 8))
def test_the_decimals_that_venues_send_are_read(value: object, zeros: int) -> None:
    quoted = f'"{value:f}{"0" * zeros}"'
    digits = len(quoted) - 3
    after, mantissa, decimals = read_decimal(array(quoted), 0, len(quoted))
    if digits <= 15:
        assert after == len(quoted)
        assert mantissa / POWERS[decimals] == float(quoted.strip('"'))


@given(_digits.map(lambda text: text + ",") | _numbers)
def test_an_integer_is_read_or_not_at_all(text: str) -> None:
    after, value = read_int(array(text), 0, len(text))
    if after < 0:
        return
    assert _decode_int(text[:after].encode()) == value
    assert after == len(text) or not text[after].isdigit()


@given(
    st.sampled_from(["true", "false", "null", "tru", '"a b"', '"a\\n"', '"\x7f"', '"\x1f"', '"é"', '"', "{}", "[1]"])
    | _numbers
    | _numbers.map(lambda text: f'"{text}"')
)
def test_a_value_that_is_passed_over_is_json(text: str) -> None:
    after = skip_value(array(text), 0, len(text))
    if after < 0:
        return
    _decode_any(text[:after].encode("latin-1"))
    assert after == len(text) or text[after] not in "0123456789."


def test_plain_values_are_passed_over() -> None:
    for text in ("true", "false", "null", '"MARKET"', "12", "-0.5", '"PERP_1"'):
        assert skip_value(array(text), 0, len(text)) == len(text), text
