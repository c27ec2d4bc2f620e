"""
The decision log of a paper session, in a file: written while it runs, read to be compared with a replay.

It lies in the recording, as `paper/<UTC start>.jsonl`. The first line has the head, the settings and where the session
begins, each further line a row, the last one the end; a session that died has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from replay.strategy.decision_log import LOG_VERSION, LogHead, LogRow
from replay.strategy.plan import RunSettings
from toolkit.clock import utc_stamp
from toolkit.errors import RecordingDamaged, RecordingError

__all__ = ["PAPER_FOLDER", "PaperEnd", "PaperLog", "PaperLogFile", "PaperStart", "paper_logs"]

#: Within a recording.
PAPER_FOLDER: Final = "paper"
_SUFFIX: Final = ".jsonl"
_encode = msgspec.json.Encoder(order="deterministic").encode


class PaperStart(msgspec.Struct, kw_only=True):
    """
    The first line.

    Attributes:
        head: Values that the chain begins with.
        settings: Settings of a replay that is to be the same.
        start_seq: Frame that the session begins with.
        start_ns: Its time.
        strategy_file: Name of the strategy's file.
        software: Version that wrote it; shown, not compared.
        log_version: Version of the chain.
    """

    head: LogHead
    settings: RunSettings
    start_seq: int
    start_ns: int
    strategy_file: str = ""
    software: str = ""
    log_version: int = LOG_VERSION


class PaperEnd(msgspec.Struct, kw_only=True):
    """
    The last line.

    Attributes:
        rows: How many there are.
        digest: The chain after the last one.
        end_ns: When the session ended.
        failure: Why the strategy was ended; empty where it was not.
        slowest_ns: Longest call of the strategy.
        lag_ns_max: Longest time that a frame waited for its turn.
    """

    rows: int
    digest: str
    end_ns: int
    failure: str = ""
    slowest_ns: int = 0
    lag_ns_max: int = 0


class PaperLogFile:
    """
    Writes the log of a session.

    What the disk refuses is reported once, and does not stop the session.

    Args:
        recording: Folder of the recording.
        start: The first line.
        say: Called with the text of a refusal.

    Attributes:
        path: The file.
    """

    def __init__(self, recording: Path, start: PaperStart, say: Callable[[str], None]) -> None:
        self._say = say
        self._file: IO[bytes] | None = None
        folder = recording / PAPER_FOLDER
        name = utc_stamp(start.start_ns)
        self.path = folder / f"{name}{_SUFFIX}"
        count = 1
        try:
            folder.mkdir(exist_ok=True)
            while self.path.exists():
                count += 1
                self.path = folder / f"{name}-{count}{_SUFFIX}"
            self._file = self.path.open("xb")
        except OSError as exc:
            self._refused(exc)
        self._write(start)

    def add(self, row: LogRow) -> None:
        """Write a row."""
        self._write(row)

    def end(self, end: PaperEnd) -> None:
        """Write the last line."""
        self._write(end)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: object) -> None:
        if self._file is None:
            return
        try:
            self._file.write(_encode(line) + b"\n")
            self._file.flush()
        except OSError as exc:
            self._refused(exc)

    def _refused(self, exc: OSError) -> None:
        self._file = None
        self._say(
            f"the decision log {self.path} cannot be written: {exc.strerror or exc}; the session goes on without it"
        )


class PaperLog:
    """
    A log that was written.

    Args:
        path: The file.

    Raises RecordingError for a file that cannot be read or is none.

    Attributes:
        path: Path as given.
        start: Its first line.
        end: Its last one; None: the session died.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end: PaperEnd | None = None
        with self._opened() as file:
            first = file.readline()
        try:
            self.start = msgspec.json.decode(first, type=PaperStart)
        except msgspec.DecodeError as exc:
            raise RecordingDamaged(f"{path} is no decision log of a paper session: {exc}") from None
        if self.start.log_version != LOG_VERSION:
            raise RecordingError(
                f"{path} was written with version {self.start.log_version} of the decision log, expected {LOG_VERSION}"
            )

    def _opened(self) -> IO[bytes]:
        try:
            return self.path.open("rb")
        except OSError as exc:
            raise RecordingError(f"{self.path} cannot be read: {exc.strerror or exc}") from None

    def rows(self) -> Iterator[LogRow]:
        """The rows, in order; then `end` is known. A last line that was cut is left out."""
        with self._opened() as file:
            file.readline()
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    if line.startswith(b"{"):
                        self.end = msgspec.json.decode(line, type=PaperEnd)
                        return
                    yield plain_row(msgspec.json.decode(line))
                except (msgspec.DecodeError, TypeError) as exc:
                    raise RecordingDamaged(f"{self.path} holds a row that is none: {exc}") from None


def plain_row(row: Any) -> LogRow:
    """A row in the form that it has in a file."""
    time_ns, kind, cause, acts, draws = row
    return LogRow(time_ns, kind, _frozen(cause), _frozen(acts), draws)


def _frozen(value: Any) -> Any:
    """Lists as tuples, all the way down."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(each) for each in value)
    if isinstance(value, dict):
        return {name: _frozen(each) for name, each in value.items()}
    return value


def paper_logs(recording: Path) -> list[Path]:
    """The logs of the paper sessions in a recording, oldest first."""
    return sorted((recording / PAPER_FOLDER).glob(f"*{_SUFFIX}"))
