"""The table of streams: who spoke when, and who has been silent for too long."""

from __future__ import annotations

import msgspec

from tests.tapes import TS
from toolkit.frames import CONTROL, Frame
from toolkit.streams import Stream, StreamTable


def stream(symbol: str, **fields: int) -> Stream:
    return Stream(symbol, f"{symbol}-USD", "full", **fields)  # type: ignore[arg-type]


def test_a_stream_is_known_by_symbol_and_name_in_the_order_it_was_first_seen() -> None:
    table = StreamTable()
    first = table.add(stream("B"))
    assert table.add(stream("B", conn_id=9)) is first
    table.add(stream("A", conn_id=1))
    assert ([each.symbol for each in table], len(table)) == (["B", "A"], 2)
    assert (table.get("B", "full"), table.get("B", "fast")) == (first, None)
    assert [each.symbol for each in table.of_connection(1)] == ["A"]


def test_silence_counts_from_the_last_frame_and_only_where_it_says_something() -> None:
    table = StreamTable()
    table.add(stream("live", limit_ns=10, last_mono=100)).is_live = True
    table.add(stream("dead", limit_ns=10, last_mono=100))
    table.add(stream("quiet", last_mono=0)).is_live = True
    assert [each.symbol for each in table.silent(110)] == []
    assert [each.symbol for each in table.silent(111)] == ["live"]


def test_a_stream_that_never_spoke_is_missed_once() -> None:
    silent = stream("A", first_limit_ns=10, last_mono=100)
    assert (silent.is_silent(110), silent.is_silent(111)) == (False, True)
    silent.was_missed = True
    assert not silent.is_silent(1000)


def test_a_stream_made_again_begins_anew() -> None:
    table = StreamTable()
    again = table.add(stream("A", limit_ns=10, last_recv=5, frame_count=7))
    again.was_missed = True
    table.resubscribed(again, Frame(0, TS, 50, "v", 3, 1, CONTROL, b"{}"))
    assert (again.last_mono, again.conn_id, again.frame_count, again.was_missed) == (50, 3, 0, False)
    assert again.last_recv == 5  # the gap is still to be told


def test_a_table_survives_a_checkpoint() -> None:
    table, restored = StreamTable(), StreamTable()
    table.add(stream("B", limit_ns=10, last_recv=5, frame_count=7)).cause = "silence"
    table.add(stream("A", first_limit_ns=2))
    restored.restore(msgspec.json.decode(msgspec.json.encode(table.export())))
    assert list(restored) == list(table)
