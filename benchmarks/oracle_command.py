"""`python -m benchmarks oracle`: every run of the oracle, counted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks.harness import SHARED_DATA
from benchmarks.oracle import MICRO, Verdict, check_micro, check_runs, files_of
from toolkit.errors import TickdeckError

__all__ = ["oracle"]


@click.command(epilog="Example:  python -m benchmarks oracle --only 'usdm*.touch.json'")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=SHARED_DATA,
    help="Folder of captures, with a folder per exchange.",
)
@click.option(
    "--oracle",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of results; by default `backtest/oracle` beside that of the captures.",
)
@click.option("--only", default="*", show_default=True, help="Files whose name fits this pattern, or holds it.")
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Where recordings are made, and kept.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def oracle(data: Path, folder: Path | None, only: str, work: Path | None, as_json: bool) -> None:
    """Meet another program's results, fill for fill. Exits with 1 where a run differs, or none was found."""
    folder = folder if folder is not None else data.parent / "backtest" / "oracle"
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tickdeck-oracle-") as scratch:
        for name, verdicts in _files(folder, only, data, work or Path(scratch)):
            try:
                row = _count(name, verdicts)
            except TickdeckError as exc:
                raise click.ClickException(f"{name}: {exc}") from exc
            rows.append(row)
            if not as_json:
                click.echo(_line(row) if len(rows) > 1 else f"{_HEAD}\n{_line(row)}")
    total = {
        key: sum(row[key] for row in rows) for key in ("runs", "fills", "whole", "whole_met", "partial", "partial_met")
    }
    if as_json:
        click.echo(json.dumps({"files": rows, "total": total}, indent=2))
    elif rows:
        click.echo(_line({"file": "all", "difference": "", **total}))
    else:
        click.echo(f"no results in {folder} fit {only!r}", err=True)
    if not rows or total["whole_met"] + total["partial_met"] < total["runs"]:
        raise click.exceptions.Exit(1)


def _files(folder: Path, only: str, data: Path, work: Path) -> Iterator[tuple[str, Iterator[Verdict]]]:
    if (folder / MICRO).is_file() and any(path.name == MICRO for path in files_of(folder, only, with_micro=True)):
        yield MICRO, check_micro(folder)
    for path in files_of(folder, only):
        yield path.name, check_runs(path, data, work)


def _count(name: str, verdicts: Iterator[Verdict]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "file": name,
        "runs": 0,
        "fills": 0,
        "whole": 0,
        "whole_met": 0,
        "partial": 0,
        "partial_met": 0,
        "difference": "",
    }
    for verdict in verdicts:
        kind = "whole" if "nopartial" in verdict.name else "partial"
        row["runs"] += 1
        row["fills"] += verdict.fills
        row[kind] += 1
        row[f"{kind}_met"] += not verdict.difference
        if verdict.difference and not row["difference"]:
            row["difference"] = f"{verdict.name}: {verdict.difference}"
    return row


_HEAD = f"{'file':<48} {'runs':>5} {'fills':>7} {'whole fills met':>16} {'partial fills met':>18}  first difference"


def _line(row: dict[str, Any]) -> str:
    whole, partial = (f"{row[f'{kind}_met']} of {row[kind]}" for kind in ("whole", "partial"))
    return (
        f"{row['file']:<48} {row['runs']:>5} {row['fills']:>7} {whole:>16} {partial:>18}  {row['difference']}".rstrip()
    )
