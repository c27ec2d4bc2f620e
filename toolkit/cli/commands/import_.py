"""`tickdeck import`: other people's captures into a recording."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from toolkit.cli.groups import OptionsAnywhere
from toolkit.cli.options.shared_options import json_option, out_folder_option, venue_name_option
from toolkit.cli.output.results import counted, examples, progress_bar, say

if TYPE_CHECKING:
    from toolkit.venue import VenueSpec

__all__ = ["import_"]

_F = TypeVar("_F", bound=Callable[..., Any])


#: What ends the name of the command that imports a venue's own archive.
_ARCHIVE: Final = "-archive"


class _Imports(OptionsAnywhere):
    """The formats that anybody writes, and the archives of venues, which are found with the venues."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from toolkit.venue import venues

        archives = [f"{name}{_ARCHIVE}" for name, spec in venues().items() if spec.archive_file]
        return sorted([*super().list_commands(ctx), *archives])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is not None or not cmd_name.endswith(_ARCHIVE):
            return found
        from toolkit.venue import find_venue, is_venue

        venue = cmd_name.removesuffix(_ARCHIVE)
        spec = find_venue(venue) if is_venue(venue) else None
        return _archive_command(spec) if spec is not None and spec.archive_file else None


@click.group(
    cls=_Imports,
    name="import",
    epilog=examples("tickdeck import jsonl --venue hyperliquid capture.jsonl --out tapes/old"),
)
def import_() -> None:
    """
    Make a recording out of capture files.

    The frames run through the venue's protocol as if they were being received. Several files of one session are
    merged by receive time. Lines that cannot be read are kept, counted and shown, and stop nothing. Files may be
    plain, gzip, LZ4 or zstd.
    """


def _common(command: _F) -> _F:
    for option in (
        click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)),
        out_folder_option(required=True),
        click.option(
            "--metadata",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The venue's metadata replies, as one JSON object by request name; gives symbols their pairs.",
        ),
        click.option(
            "--compression",
            type=click.Choice(["small", "fast"]),
            default="small",
            show_default=True,
            help="small files, or fast: written in half the time and a tenth larger.",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(1, 256),
            metavar="PROCESSES",
            help="How many: with 2 another one reads the files and writes raw frames. What is written is "
            "the same. By default 2 for files of 64 MiB and more where there are three processors, else 1.",
        ),
        json_option,
    ):
        command = option(command)
    return command


_venue = venue_name_option(required=True)


def _time_unit(*units: str) -> Callable[[_F], _F]:
    return click.option(
        "--time-unit", type=click.Choice(units), help="Unit of numeric times; by default inferred from the data."
    )


@import_.command(epilog=examples("tickdeck import collector --venue hyperliquid btc.gz --out tapes/btc"))
@_venue
@_time_unit("ns", "us", "ms")
@_common
def collector(venue: str, time_unit: str | None, **common: Any) -> None:
    """Import lines `<receive time> <JSON frame>`."""
    _import(venue, "collector", time_unit, **common)


@import_.command(
    epilog=examples("tickdeck import jsonl --venue hyperliquid ws_bbo.jsonl ws_trades.jsonl --out tapes/x")
)
@_venue
@_time_unit("ns", "us", "ms", "s")
@_common
def jsonl(venue: str, time_unit: str | None, **common: Any) -> None:
    """Import lines `{"ts": <time>, "payload": {...}}`, the time as ISO 8601 or a number."""
    _import(venue, "jsonl", time_unit, **common)


def _archive_command(spec: VenueSpec) -> click.Command:
    name = f"{spec.name}{_ARCHIVE}"

    @click.command(name=name, epilog=examples(f"tickdeck import {name} {spec.archive_file} --out tapes/btc-noon"))
    @_common
    def archive(**common: Any) -> None:
        _import(spec.name, "archive", None, **common)

    archive.help = f'Import {spec.title}\'s own archive: LZ4 files of lines `{{"time": ..., "raw": {{...}}}}`.'
    return archive


def _import(
    venue: str,
    line_format: str,
    time_unit: str | None,
    *,
    files: tuple[Path, ...],
    out: Path,
    metadata: Path | None,
    compression: str,
    jobs: int | None,
    as_json: bool,
) -> None:
    from recordings.format.parquet_options import FAST, SMALL
    from recordings.importing.importer import ImportOptions, import_capture, note_before
    from recordings.recording import Recording
    from toolkit.cli.commands.info import summary, write_summary

    options = ImportOptions(
        venue=venue,
        line_format=line_format,
        time_unit=time_unit,
        metadata=metadata,
        compression=FAST if compression == "fast" else SMALL,
        jobs=jobs,
    )
    total = sum(path.stat().st_size for path in files if path.is_file())
    if note := note_before(options, total):
        say(note, err=True)
    with progress_bar("importing", total) as advance:
        done = 0

        def progress(now: int, _: int) -> None:
            nonlocal done
            advance(now - done)
            done = now

        manifest = import_capture(files, out, options, progress)
    for file in manifest.inputs:
        if file.damaged_lines:
            say(
                f"{file.name}: {file.damaged_lines:,} of {counted(file.lines, 'line')} {'is' if file.lines == 1 else 'are'} damaged; kept as such",
                err=True,
            )
        if file.note:
            say(f"{file.name}: {file.note}", err=True)
    errors = manifest.counts.get("event_parse_error", 0) - sum(file.damaged_lines for file in manifest.inputs)
    if errors > 0:
        say(
            f"{counted(errors, 'frame')} could not be parsed; see: tickdeck sql {shlex.quote(str(out))} "
            "\"SELECT capture_seq, detail FROM events WHERE kind = 'parse_error'\"",
            err=True,
        )
    write_summary(summary(Recording(out, manifest)), as_json)
