"""The order of rows: stretches of time, by symbol within; and reading them, and those of earlier versions, in order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.format import row_order
from recordings.format.columns_to_rows import dictionary_columns
from recordings.format.messages_to_rows import TableBuilders, rows_of_messages
from recordings.format.row_order import StretchedFile
from recordings.format.rows_to_messages import book_messages, flat_messages
from recordings.format.schema import TABLE_OF
from recordings.reading import sorted_rows
from recordings.reading.selecting import Selection
from recordings.reading.sorted_rows import row_groups_of, row_keys, rows_in_order, said_columns, stretches_of
from tests.tapes import diff, quote, snapshot
from toolkit.messages import BookDiff, BookSnapshot, Message

SYMBOLS = ("", "A", "B", "BTC", "\N{GREEK SMALL LETTER ALPHA}", "z")


def mixed_tape(seed: int, count: int) -> list[Message]:
    """Messages in the order of a recording, several to some frames, of several symbols and venues."""
    rng = random.Random(seed)
    found: list[Message] = []
    seq = sub_seq = 0
    for _ in range(count):
        how: dict[str, Any] = {"symbol": rng.choice(SYMBOLS), "capture_seq": seq, "sub_seq": sub_seq}
        levels = [(10.0 - level, rng.random()) for level in range(rng.randrange(4))]
        form = f"form-{rng.randrange(1 + len(found) // 10)}"
        message: Message = quote((1.0, rng.random()), None, **how)
        if rng.random() < 0.6:
            message = rng.choice((snapshot, diff))(levels, [], form=form, **how)
        found.append(msgspec.structs.replace(message, venue=rng.choice("vw")))
        sub_seq += max(len(levels), 1)
        if rng.random() < 0.5:
            seq, sub_seq = seq + 1, 0
    return found


def row_count(message: Message) -> int:
    return max(len(message.bid_prices), 1) if isinstance(message, (BookSnapshot, BookDiff)) else 1


def busy_tape(symbols: int, count: int) -> list[Message]:
    """Quotes and books, the first symbols more often than the last."""
    rng = random.Random(symbols)
    found: list[Message] = []
    for seq in range(count):
        symbol = f"S{min(rng.randrange(symbols), rng.randrange(symbols)):03d}"
        if rng.random() < 0.5:
            found.append(quote((1.0, 1.0), (2.0, rng.random()), symbol=symbol, capture_seq=seq))
        else:
            form = f"form-{rng.randrange(1 + seq // 40)}"
            make = snapshot if rng.random() < 0.5 else diff
            levels = [(10.0 - level, 0.5) for level in range(rng.randrange(4))]
            found.append(make(levels, [], symbol=symbol, capture_seq=seq, form=form))
    return found


@contextmanager
def small(stretch: int, group: int, batch: int = 2048, *, merged: int | None = None) -> Iterator[None]:
    """Stretches, row groups and batches of so many rows; with `merged`, what overlaps is merged with so many held."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recordings.format.row_order.STRETCH_ROWS", stretch)
        patch.setattr("recordings.format.row_order.GROUP_ROWS", group)
        patch.setattr("recordings.format.messages_to_rows.BATCH_MESSAGES", batch)
        if merged is not None:
            patch.setattr(sorted_rows, "AT_ONCE_ROWS", 0)
            patch.setattr(sorted_rows, "MERGED_ROWS", merged)
            patch.setattr(sorted_rows, "_BATCH_ROWS_MIN", 1)
        yield


def written(folder: Path, tape: Sequence[Message]) -> dict[str, Path]:
    builders = TableBuilders(folder)
    for message in tape:
        builders.add(message)
    return {table: folder / file.path for table, file in builders.write().items()}


def by_table(tape: Sequence[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for message in tape:
        found.setdefault(TABLE_OF[type(message)], []).append(message)
    return found


def read(path: Path, table: str, **how: Any) -> list[Message]:
    """The messages of a file, in order."""
    parquet = pq.ParquetFile(path, read_dictionary=dictionary_columns(table))
    batches = list(rows_in_order(parquet, **{"batch_rows": 1000, **how}))
    if not batches:
        return []
    (rows,) = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()
    return book_messages(rows) if table == "book" else flat_messages(table, rows)


def older(path: Path, table: str, tape: Sequence[Message], group_rows: int) -> Path:
    """The file as earlier versions wrote it: one symbol after the other, each in row groups of its own."""
    groups: dict[tuple[str, str], list[Message]] = {}
    for message in tape:
        groups.setdefault((message.symbol, message.venue), []).append(message)
    schema = rows_of_messages(table, tape[:1]).schema
    with pq.ParquetWriter(path, schema, store_schema=False) as writer:
        for key in sorted(groups):
            rows = pa.Table.from_batches([rows_of_messages(table, groups[key])])
            writer.write_table(rows, row_group_size=group_rows)
    return path


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 12), st.integers(1, 5))
def test_files_do_not_show_in_what_batches_their_rows_came(
    tmp_path_factory: pytest.TempPathFactory, seed: int, stretch: int, group: int, batch: int
) -> None:
    """Byte for byte: message by message, many at a time, and by symbol as compiled code gives them."""
    tape = mixed_tape(seed, 30)
    place = tmp_path_factory.mktemp("tables")
    contents = []
    for number, rows in enumerate((batch, 2048)):
        with small(stretch, group, rows):
            (place / str(number)).mkdir()
            files = written(place / str(number), tape)
        contents.append({table: path.read_bytes() for table, path in files.items()})
    with small(stretch, group), ThreadPoolExecutor(1) as executor:
        columns = {}
        for table, those in by_table(tape).items():
            (place / table).mkdir()
            file = StretchedFile(place / table, table, 0, executor=executor)
            for begin in range(0, len(those), 3 * batch):
                part = those[begin : begin + 3 * batch]
                for key in sorted({(each.symbol, each.venue) for each in part}):
                    file.add(rows_of_messages(table, [each for each in part if (each.symbol, each.venue) == key]))
                file.cut(part[-1].capture_seq - 1)
            columns[table] = (place / table / file.finish().path).read_bytes()
    assert contents[0] == contents[1] == columns


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 12))
def test_a_stretch_ends_with_the_frame_that_fills_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, stretch_rows: int, group_rows: int
) -> None:
    """Frames of one stretch are before those of the next; row groups end between symbols, and are none too small."""
    tape = mixed_tape(seed, 30)
    with small(stretch_rows, group_rows):
        files = written(tmp_path_factory.mktemp("tables"), tape)
    for table, those in by_table(tape).items():
        expected: list[list[tuple[str, str, int]]] = [[]]
        for message, following in pairwise([*those, None]):
            assert message is not None
            expected[-1] += [(message.symbol, message.venue, message.capture_seq)] * row_count(message)
            is_whole = following is not None and following.capture_seq > message.capture_seq
            if len(expected[-1]) >= stretch_rows and is_whole:
                expected.append([])
        rows = pq.read_table(files[table], columns=["symbol", "venue", "capture_seq"]).to_pylist()
        assert [tuple(row.values()) for row in rows] == [place for part in expected for place in sorted(part)]
        groups = row_groups_of(pq.read_metadata(files[table]))
        assert [group for part in stretches_of(groups) for group in part] == groups
        ends = set(accumulate(group.rows for group in groups))
        assert ends >= set(accumulate(map(len, expected)))
        begin = 0
        for part in expected:
            counts = Counter((symbol, venue) for symbol, venue, _ in part)
            for key in sorted(counts):
                if counts[key] >= group_rows:  # it lies alone
                    assert {begin, begin + counts[key]} <= ends | {0}
                else:
                    assert not any(begin < end < begin + counts[key] for end in ends)
                begin += counts[key]
        assert len(groups) <= sum(2 * len(part) // group_rows + 1 for part in expected)


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 9),
    st.one_of(st.none(), st.sets(st.tuples(st.sampled_from("vw"), st.sampled_from(SYMBOLS)))),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_what_was_written_is_read_in_order_whatever_order_it_lies_in(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    stretch_rows: int,
    group_rows: int,
    batch_rows: int,
    wanted: Collection[tuple[str, str]] | None,
    merged: int | None,
) -> None:
    """From any frame on, of any symbols, of today's order and of that of earlier versions, in any portions."""
    tape = mixed_tape(seed, 30)
    selection = None if wanted is None else Selection(frozenset("v"), frozenset(wanted), frozenset())
    folder = tmp_path_factory.mktemp("tables")
    with small(stretch_rows, group_rows):
        files = written(folder, tape)
    for table, those in by_table(tape).items():
        paths = [files[table], older(folder / f"{table}.parquet", table, those, 3 * group_rows)]
        for first_seq in (0, tape[-1].capture_seq // 2, tape[-1].capture_seq + 1):
            expected = [
                each
                for each in those
                if each.capture_seq >= first_seq and (selection is None or selection.takes(each.venue, each.symbol))
            ]
            how = {"first_seq": first_seq, "selection": selection, "batch_rows": batch_rows}
            with small(stretch_rows, group_rows, merged=merged):
                for path in paths:
                    assert read(path, table, **how) == expected


@pytest.mark.parametrize("words", [1, 2, 4, 5, 40])
def test_words_of_a_row_group_are_in_the_order_of_its_rows(tmp_path: Path, words: int) -> None:
    rng = random.Random(words)
    tape = [
        msgspec.structs.replace(
            quote((1.0, 2.0), None, symbol="A", capture_seq=seq),
            venue=f"v{rng.randrange(words)}",
            trading_pair=f"p{rng.randrange(words)}",
        )
        for seq in range(200)
    ]
    rows = pa.Table.from_batches([rows_of_messages("bbo", tape)])
    for begin, end in ((0, 200), (50, 60), (199, 200)):
        part = row_order._tidy(rows.slice(begin, end - begin).combine_chunks())
        for name in ("venue", "trading_pair"):
            (chunk,) = part.column(name).chunks
            assert chunk.to_pylist() == rows.column(name)[begin:end].to_pylist()
            assert chunk.dictionary.to_pylist() == list(dict.fromkeys(chunk.to_pylist()))


def test_a_symbol_with_many_rows_lies_alone_and_others_together(tmp_path: Path) -> None:
    """So that a reader of one skips the rest, and no row group is smaller than its metadata."""
    counts = {"A": 3, "B": 50, "C": 4, "D": 4, "E": 4, "F": 9, "G": 10, "H": 1}
    tape = [
        quote((1.0, 1.0), None, symbol=symbol, capture_seq=seq)
        for seq, symbol in enumerate(symbol for symbol, count in counts.items() for _ in range(count))
    ]
    with small(1000, 10):
        groups = row_groups_of(pq.read_metadata(written(tmp_path, tape)["bbo"]))
    assert [(group.rows, group.symbols) for group in groups] == [
        (3, ("A", "A")),
        (50, ("B", "B")),
        (12, ("C", "E")),
        (9, ("F", "F")),
        (10, ("G", "G")),
        (1, ("H", "H")),
    ]


@pytest.mark.parametrize("merged", [None, 200])
def test_the_work_for_a_row_does_not_depend_on_the_number_of_symbols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: int | None
) -> None:
    """
    Counted instead of timed: how often rows are sorted, and how many at a time.

    Of today's order a stretch is sorted once. Where symbols of an older file are merged, each round gives away half of
    what is held or more.
    """
    sorts: list[int] = []
    in_order = sorted_rows._in_order

    def counted(parts: Sequence[pa.Table]) -> pa.RecordBatch:
        rows = in_order(parts)
        sorts.append(len(rows))
        return rows

    monkeypatch.setattr(sorted_rows, "_in_order", counted)
    for symbols in (1, 10, 100):
        tape = by_table(busy_tape(symbols, 1_500))["bbo"]
        folder = tmp_path / str(symbols)
        folder.mkdir()
        sorts.clear()
        with small(100, 5, merged=merged):
            path = written(folder, tape)["bbo"] if merged is None else older(folder / "old", "bbo", tape, 1 << 20)
            assert read(path, "bbo") == tape
        if symbols == 1:
            assert sorts == []  # it lies in order
        else:
            most = len(tape) if merged is None else 3 * len(tape)
            assert sum(sorts) <= most
            assert max(sorts) <= (100 if merged is None else 2 * merged)


def test_rows_of_a_symbol_that_are_out_of_order_are_told(tmp_path: Path) -> None:
    tape = [quote((1.0, 1.0), None, symbol=symbol, capture_seq=seq) for seq, symbol in ((3, "A"), (1, "A"), (2, "B"))]
    path = tmp_path / "bbo.parquet"
    pq.write_table(pa.Table.from_batches([rows_of_messages("bbo", tape)]), path, store_schema=False)
    with pytest.raises(ValueError, match="not sorted"):
        read(path, "bbo")


def test_row_groups_without_statistics_are_read_all_the_same(tmp_path: Path) -> None:
    """Of files that others have written: nothing is skipped then."""
    tape = by_table(busy_tape(5, 60))["bbo"]
    path = tmp_path / "bbo.parquet"
    rows = pa.Table.from_batches([rows_of_messages("bbo", sorted(tape, key=lambda each: each.symbol))])
    pq.write_table(rows, path, store_schema=False, write_statistics=False, row_group_size=20)
    selection = Selection(frozenset(), frozenset({(tape[0].venue, "S001")}), frozenset())
    assert read(path, "bbo", first_seq=20, selection=selection) == [
        each for each in tape if each.capture_seq >= 20 and each.symbol == "S001"
    ]
    assert read(path, "bbo") == tape


def test_keys_are_in_the_order_of_the_tape() -> None:
    tape = busy_tape(4, 50)
    for table, those in by_table(tape).items():
        keys = row_keys(rows_of_messages(table, those))
        assert (keys[1:] > keys[:-1]).all()


def test_columns_in_which_nothing_is_said_are_not_read(tmp_path: Path) -> None:
    """By statistics of all row groups; one that says nothing of a column has it read."""
    path = tmp_path / "rows.parquet"
    schema = pa.schema([("empty", pa.int64()), ("late", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema, write_statistics=["empty", "late"]) as writer:
        for late in (None, 3):
            writer.write_table(pa.table({"empty": [None], "late": [late], "text": [None]}, schema=schema))
    assert said_columns(pq.read_metadata(path)) == ["late", "text"]
