"""A column that a later version adds is null on older files, whoever reads them; one that nobody knows is passed over."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from recordings.care.compacting import compact
from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest
from recordings.format.schema import TABLES
from recordings.recording import Recording
from replay.source import ReplayDataSource
from tests.flips.tapes import make
from tests.manifests import vouch
from toolkit.messages import Message


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    return make(place / "tape", place / "session", seconds=3).path


#: One that may be null in each table: text, a number, a time, a flag.
ADDED = {
    "raw": "context",
    "book": "prev_update_id",
    "bbo": "update_id",
    "trades": "cause",
    "funding": "next_funding_ts",
    "instruments": "contract_value",
    "events": "ts_end",
    "orders": "is_reduce_only",
    "fills": "realized_pnl",
    "positions": "leverage",
    "top": "is_crossed",
}


def rewrite(folder: Path, segments: Collection[int], *, drop: bool) -> None:
    """Files as another version wrote them: without a column each, or with one that nobody knows."""
    for table, name in ADDED.items():
        for number in segments:
            path = folder / table / f"{number:06d}.parquet"
            if not path.exists():
                continue
            file = pq.ParquetFile(path)
            groups = [file.read_row_group(place) for place in range(file.num_row_groups)]
            if drop:
                groups = [group.drop_columns([name]) for group in groups]
            else:
                groups = [group.append_column("of_tomorrow", pa.array([7] * len(group))) for group in groups]
            with pq.ParquetWriter(path, groups[0].schema, store_schema=False) as writer:
                for group in groups:
                    writer.write_table(group)
    vouch(folder)


def played(folder: Path, fidelity: str) -> list[Message]:
    source = ReplayDataSource(Recording.open(folder), fidelity="raw" if fidelity == "raw" else "normalized")
    seen: list[Message] = []
    source.set_message_callback(seen.append)
    source.play()
    return seen


@pytest.mark.parametrize("segments", [(0,), (1,), (0, 1, 2)], ids=str)
def test_older_files_read_as_null(made: Path, tmp_path: Path, segments: tuple[int, ...]) -> None:
    """Some of them, as of a recording that an upgrade continued, or all."""
    folder = Path(shutil.copytree(made, tmp_path / "tape"))
    rewrite(folder, segments, drop=True)
    with analysis.connect(folder) as connection, analysis.connect(made) as whole:
        for table, name in ADDED.items():
            rows, expected = (c.sql(f"SELECT * FROM {table}").to_arrow_table() for c in (connection, whole))
            assert rows.schema.names == expected.schema.names == ["recording", *TABLES[table].names]
            assert rows.schema == expected.schema
            differing = ["recording", name]
            assert rows.drop_columns(differing).equals(expected.drop_columns(differing))
            assert analysis.scan(folder, table).collect().to_arrow().num_rows == len(expected)
            assert rows.column(name).null_count >= expected.column(name).null_count
            if len(segments) == 3:
                assert rows.column(name).null_count == len(rows)
                assert analysis.scan(folder, table).collect()[name].null_count() == len(rows)
        assert len(connection.sql("SELECT * FROM quotes").fetchall()) == len(whole.sql("SELECT * FROM top").fetchall())
    with analysis.connect(folder, made) as both:
        assert both.sql("SELECT count(*) FROM fills").fetchall()[0][0] % 2 == 0
    assert len(played(folder, "normalized")) == len(played(made, "normalized"))
    assert len(list(Recording.open(folder).raw_frames())) > 0


def test_columns_that_nobody_knows_are_passed_over(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "tape"))
    rewrite(folder, (1,), drop=False)
    with analysis.connect(folder) as connection, analysis.connect(made) as whole:
        for table in ADDED:
            query = f"SELECT * EXCLUDE (recording) FROM {table}"
            assert connection.sql(query).to_arrow_table().equals(whole.sql(query).to_arrow_table())
            assert (
                analysis.scan(folder, table)
                .drop("recording")
                .collect()
                .equals(analysis.scan(made, table).drop("recording").collect())
            )
    for fidelity in ("raw", "normalized"):
        assert played(folder, fidelity) == played(made, fidelity)
    assert verify(folder).problems == []


def test_older_files_are_compacted_with_newer_ones(made: Path, tmp_path: Path) -> None:
    """The same rows, the column null where there was none."""
    folder = Path(shutil.copytree(made, tmp_path / "tape"))
    rewrite(folder, (0,), drop=True)
    before = {table: analysis.scan(folder, table).collect() for table in ADDED}
    compact(folder)
    assert len(read_manifest(folder).segments) == 1
    for table, rows in before.items():
        after = analysis.scan(folder, table).collect()
        assert after.sort("capture_seq", "symbol" if "symbol" in after.columns else "kind", maintain_order=True).equals(
            rows.sort("capture_seq", "symbol" if "symbol" in rows.columns else "kind", maintain_order=True)
        )
