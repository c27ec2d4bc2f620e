"""Names are found by their bytes, and no others, however many there are."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.kernels.growing import appended
from toolkit.kernels.name_table import entered, make_table, number_of

_NAMES = st.lists(st.binary(min_size=1, max_size=5), unique=True, max_size=80)


@given(_NAMES, st.binary(max_size=6))
@example([b"%d" % number for number in range(80)], b"8")
@example([b"btcusdt@depth", b"btcusdt@depth@100ms"], b"btcusdt@dept")
def test_a_name_has_the_number_that_it_was_given(names: list[bytes], other: bytes) -> None:
    table = make_table()
    name_ends, text = np.zeros(1, np.int64), np.zeros(0, np.uint8)
    for number, name in enumerate(names):
        name_ends, text = appended(name_ends, text, number, name)
        table = entered(table, text, name_ends, number)
        assert np.count_nonzero(table >= 0) == number + 1
        assert 2 * (number + 1) <= len(table)  # a search for a name that has none ends

    def found(name: bytes) -> int:
        frame = np.frombuffer(b"<" + name + b">", np.uint8)
        return int(number_of(frame, 1, 1 + len(name), table, text, name_ends))

    assert [found(name) for name in names] == list(range(len(names)))
    assert found(other) == (names.index(other) if other in names else -1)
