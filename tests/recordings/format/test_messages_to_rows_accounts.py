"""Account messages to rows and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.format.messages_to_rows import TableBuilders
from recordings.format.rows_to_messages import flat_messages
from recordings.format.schema import TABLE_OF, TABLES
from toolkit.account_messages import (
    AccountEvent,
    AccountEventKind,
    Fill,
    FundingPayment,
    OrderState,
    OrderUpdate,
    PositionUpdate,
)
from toolkit.messages import BalanceUpdate, Message, Side

CLASSES: tuple[type[Message], ...] = (OrderUpdate, Fill, BalanceUpdate, PositionUpdate, FundingPayment, AccountEvent)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.integers(0, 2**62)


def make(kind: Any, seq: int, ts: int | None, *values: Any) -> Message:
    message: Message = kind("v", "A", "A-B", ts, 6, seq, 0, "0xab", *values)
    return message


@pytest.mark.parametrize("kind", CLASSES)
def test_columns_are_the_fields_of_the_message(kind: type[Message]) -> None:
    """Rows are made by position, so names that differ would go unnoticed."""
    assert TABLES[TABLE_OF[kind]].names == list(kind.__struct_fields__)


@st.composite
def account_messages(draw: st.DrawFn) -> list[Message]:
    """A few messages of every kind, with and without what is optional."""
    found: list[Message] = []
    number, word, time, flag = st.none() | NUMBERS, WORDS, st.none() | TIMES, st.booleans()
    for seq in range(draw(st.integers(1, 4))):
        at = (seq, draw(time))
        side = draw(st.sampled_from(Side))
        found += [
            make(
                OrderUpdate,
                *at,
                draw(word),
                draw(st.sampled_from(OrderState)),
                draw(word),
                side,
                *(draw(number) for _ in range(3)),
                draw(st.none() | word),
                draw(time),
                draw(word),
                draw(word),
                draw(number),
                draw(flag),
                draw(flag),
            ),
            make(
                Fill,
                *at,
                draw(word),
                draw(word),
                side,
                *(draw(NUMBERS) for _ in range(3)),
                draw(word),
                draw(st.none() | flag),
                draw(st.none() | word),
                draw(word),
                draw(number),
                draw(number),
                draw(word),
                draw(st.none() | word),
                draw(flag),
            ),
            make(BalanceUpdate, *at, draw(word), draw(NUMBERS), draw(NUMBERS), draw(word), draw(number), draw(number)),
            make(PositionUpdate, *at, draw(NUMBERS), *(draw(number) for _ in range(6)), draw(word), draw(number)),
            make(FundingPayment, *at, draw(word), draw(NUMBERS), draw(word), draw(number), draw(number), draw(flag)),
            make(
                AccountEvent,
                *at,
                draw(st.sampled_from(AccountEventKind)),
                draw(word),
                draw(word),
                draw(number),
                draw(word),
                draw(word),
                draw(flag),
            ),
        ]
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(account_messages())
def test_every_message_comes_back_as_it_was(tmp_path: Path, messages: list[Message]) -> None:
    builders = TableBuilders(tmp_path)
    for message in messages:
        builders.add(message)
    files = builders.write()
    assert set(files) == {TABLE_OF[kind] for kind in CLASSES}
    for kind in CLASSES:
        table = TABLE_OF[kind]
        (batch,) = pq.read_table(tmp_path / files[table].path).combine_chunks().to_batches()
        assert flat_messages(table, batch) == [message for message in messages if type(message) is kind]
