"""`tickdeck report`: results as a web page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.options.value_types import OutputFile, check_apart, check_output
from toolkit.cli.output.results import examples, say
from toolkit.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from recordings.recording import Recording
    from replay.results.result import Result

__all__ = ["report"]


@click.command(
    epilog=examples(
        "tickdeck report results/maker",
        "tickdeck report results/maker --out maker.html --picture maker.png",
        "tickdeck report results/slow results/fast --out both.html",
        "tickdeck report results/maker --recording tapes/monday",
    )
)
@click.argument("folders", nargs=-1, required=True, metavar="RESULT...", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "-o",
    "page",
    type=OutputFile(".html"),
    default="report.html",
    show_default=True,
    metavar="PAGE",
    help="The page.",
)
@click.option(
    "--picture", type=OutputFile(".png"), metavar="FILE", help="Its charts as PNG; beside the page, unless it is said."
)
@click.option(
    "--recording",
    "recordings",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RECORDING",
    help="What was played, for a result that was written without being measured. May be repeated.",
)
@click.option(
    "--quantstats",
    "foreign",
    type=OutputFile(".html"),
    metavar="FILE",
    help="Also the page that QuantStats makes of the daily returns of one result, where that extra is installed.",
)
def report(
    folders: tuple[Path, ...], page: Path, picture: Path | None, recordings: tuple[Path, ...], foreign: Path | None
) -> None:
    """
    Write a report of a run, or of several beside each other: one page that loads nothing.

    Its first line says what share of time and of profit rests on doubtful data. Then come the profit by what it came from,
    the market that was met, charts that can be zoomed, execution, every assumption, and the quality of the data.
    """
    from recordings.recording import Recording
    from replay.results.report_page import write_report

    if foreign is not None and len(folders) > 1:
        raise click.UsageError(f"--quantstats is of one result, and {len(folders)} are given")
    drawn = page.with_suffix(".png") if picture is None else picture
    for path in (page, drawn):
        check_output(path)
    check_apart({"--out": page, "--picture": drawn, "--quantstats": foreign})
    given = [Recording.open(folder) for folder in recordings]
    results = [_result(folder, given) for folder in folders]
    for recording in given:
        if not any(_is_played(result, recording) for result in results):
            raise ConfigError(f"{recording.path} was played by none of the results: leave it out of --recording")
    for folder, result in zip(folders, results, strict=True):
        if given and result.info.study is not None:
            say(f"{folder} was measured when it was written: --recording is not needed for it", err=True)
    write_report(results, page, drawn)
    say(f"Written: {page}, and its charts as {drawn}", err=True)
    if foreign is not None:
        from replay.reports.quantstats_export import write_quantstats

        write_quantstats(results[0], foreign)
        say(f"Written: {foreign}", err=True)


def _result(folder: Path, given: Sequence[Recording]) -> Result:
    """A result with what it played, as far as that is at hand: what is named, or the recording of a paper session."""
    from replay.results.result import Result

    found = Result.open(folder)
    played = [each for each in given if _is_played(found, each)]
    if given and not played:
        raise ConfigError(f"{folder} {_played_what(found)}: name what was played")
    if found.info.study is not None:
        return found
    if given:
        return Result.open(folder, played)
    return Result.open(folder, _of_paper(folder) if found.info.kind == "paper" else ())


def _played_what(result: Result) -> str:
    if result.info.kind == "paper":
        return "is a paper session of another time or other pairs than every recording of --recording"
    names = ", ".join(str(each.get("name")) for each in result.info.recordings) or "none"
    return f"played {names}, whose digest no recording of --recording has"


def _is_played(result: Result, recording: Recording) -> bool:
    """Whether a result is of that recording; a paper session, which does not know the digest of its own, by time and pairs."""
    info = result.info
    if info.kind != "paper":
        return recording.manifest.digest in {each.get("digest") for each in info.recordings}
    pairs = {(pair.venue, pair.trading_pair) for pair in info.pairs}
    span = recording.span
    if span is None or not span[0] <= info.start_ns <= span[1]:
        return False
    return not pairs.isdisjoint((key.venue, key.trading_pair) for key in recording.keys)


def _of_paper(folder: Path) -> list[Recording]:
    """A paper session is in its recording."""
    from recordings.recording import Recording

    try:
        return [Recording.open(folder.absolute().parent.parent)]
    except RecordingError:
        return []
