"""An import by two processes is that of one, byte for byte; what befalls the second is told, and leaves nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.format.parquet_options import FAST
from recordings.importing import reading_apart
from recordings.importing.importer import APART_BYTES, ImportOptions, _jobs, import_capture
from recordings.importing.reading_apart import ReadingTask
from recordings.storage.child_environment import child_environment
from recordings.storage.lock import LOCK_NAME
from tests.deadlines import HANG_S
from tests.tapes import TS, bbo_frame, book_frame, collector_line, trade
from tests.toolkit.cli.terminal import only_error, run
from toolkit.errors import ConfigError, ImportFailed, RecordingError

MS = TS // 1_000_000


def hyperliquid(count: int, first: int = 0) -> bytes:
    """Lines of a collector, some of them damaged."""
    lines = []
    for number in range(first, first + count):
        frame = (
            book_frame("BTC", MS + number, [(10.0 + number % 7, 1.0), (9.0, 1.0)], [(500.0, 2.0)]),
            bbo_frame("ETH", MS + number, (10.5, 1.0 + number), None),
            {"channel": "trades", "data": [trade("BTC", number, MS + number)]},
        )[number % 3]
        lines.append(collector_line(TS + number * 1_000_000, frame))
        if number % 40 == 7:
            lines.append(b"no line of a collector \xff\n")
    return b"".join(lines)


def jsonl(count: int) -> bytes:
    lines = (
        {"ts": f"2026-01-01T00:00:{number:02}.5Z", "payload": bbo_frame("BTC", MS, (1.0, 1.0 + number), None)}
        for number in range(count)
    )
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def written(tmp_path: Path, *contents: bytes, **options: Any) -> list[Path]:
    paths = [tmp_path / f"{number}.txt" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


@pytest.mark.parametrize(
    ("contents", "options"),
    [
        ((hyperliquid(300), hyperliquid(200, 100)), {"line_format": "collector", "segment_frames": 90}),
        pytest.param(
            (hyperliquid(120),),
            {"line_format": "collector", "segment_bytes": 700, "threads": False, "compiled": True},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (jsonl(50),),
            {"line_format": "jsonl", "compiled": False, "segment_frames": 1},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_two_processes_write_is_what_one_writes(
    tmp_path: Path, contents: tuple[bytes, ...], options: dict[str, Any]
) -> None:
    paths = written(tmp_path, *contents)
    metadata = tmp_path / "meta.json"
    metadata.write_bytes(b'{"meta":{"universe":[{"name":"BTC","szDecimals":5}]}}')
    done: list[int] = []
    for jobs in (1, 2):
        how = ImportOptions(venue="hyperliquid", compression=FAST, metadata=metadata, jobs=jobs, **options)
        import_capture(paths, tmp_path / f"by-{jobs}", how, lambda now, _: done.append(now))
    assert len(files_of(tmp_path / "by-1")) > 4
    assert files_of(tmp_path / "by-1") == files_of(tmp_path / "by-2")
    assert done[-1] == sum(map(len, contents))


def dying(kind: str) -> Callable[[pytest.MonkeyPatch], None]:
    def prepare(monkeypatch: pytest.MonkeyPatch) -> None:
        started = reading_apart._started

        def limited() -> subprocess.Popen[bytes]:
            process = started()
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4, 4))
            return process

        if kind == "full":
            monkeypatch.setattr(reading_apart, "_started", limited)
        else:
            monkeypatch.setenv("TICKDECK_DIE_AT", kind)

    return prepare


@pytest.mark.parametrize(
    ("prepare", "kind", "says"),
    [
        (dying("reader/file-written"), ImportFailed, r"the process that reads the files ended .*signal 9.*--jobs 1"),
        pytest.param(
            dying("full"),
            RecordingError,
            "cannot be written .*File too large.*: nothing was imported",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
def test_what_befalls_the_process_is_told_and_nothing_stays(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[pytest.MonkeyPatch], None],
    kind: type[Exception],
    says: str,
) -> None:
    paths = written(tmp_path, hyperliquid(200))
    how = ImportOptions(venue="hyperliquid", line_format="collector", segment_frames=50, jobs=2)
    with monkeypatch.context() as patched:
        prepare(patched)
        with pytest.raises(kind, match=says) as caught:
            import_capture(paths, tmp_path / "tape", how)
    assert "\n" not in str(caught.value)
    assert set(files_of(tmp_path / "tape")) <= {LOCK_NAME}
    assert import_capture(paths, tmp_path / "tape", msgspec.structs.replace(how, jobs=1)).status == "sealed"


def test_the_process_ends_with_an_import_that_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = written(tmp_path, hyperliquid(200))
    processes: list[subprocess.Popen[bytes]] = []
    started = reading_apart._started

    def noted() -> subprocess.Popen[bytes]:
        processes.append(started())
        return processes[-1]

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading_apart, "_started", noted)
    how = ImportOptions(venue="hyperliquid", line_format="collector", segment_frames=20, jobs=2)
    with pytest.raises(KeyboardInterrupt):
        import_capture(paths, tmp_path / "tape", how, interrupt)
    assert [process.returncode is not None for process in processes] == [True]
    assert set(files_of(tmp_path / "tape")) <= {LOCK_NAME}


def test_without_a_second_process_one_does_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    paths = written(tmp_path, hyperliquid(60))
    monkeypatch.setattr(subprocess, "Popen", refused)
    how = ImportOptions(venue="hyperliquid", line_format="collector", jobs=2)
    manifest = import_capture(paths, tmp_path / "tape", how)
    assert (manifest.status, manifest.inputs[0].damaged_lines) == ("sealed", 2)


#: An import that says which process reads for it, and is killed as its first table takes its name.
KILLED = """
import sys
from pathlib import Path
from recordings.importing import reading_apart
from recordings.importing.importer import ImportOptions, import_capture

started = reading_apart._started

def noted():
    process = started()
    print(process.pid, flush=True)
    return process

reading_apart._started = noted
how = ImportOptions(venue="hyperliquid", line_format="collector", segment_frames=50, jobs=2)
import_capture([Path(sys.argv[1])], Path(sys.argv[2]), how)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open")
def test_a_kill_leaves_what_one_process_leaves_and_no_process(tmp_path: Path) -> None:
    (path,) = written(tmp_path, hyperliquid(400))
    environment = {**child_environment(), "TICKDECK_DIE_AT": "recorder/file-renamed"}
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "tape")]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):  # it has gone already
        handle = os.pidfd_open(int(done.stdout))
        assert select.select([handle], [], [], HANG_S)[0]
        os.close(handle)
    assert not (tmp_path / "tape" / "recording.json").exists()
    with pytest.raises(ConfigError, match="is not an empty folder"):
        import_capture([path], tmp_path / "tape", ImportOptions(venue="hyperliquid", line_format="collector"))


@pytest.mark.slow
def test_it_ends_with_its_input(tmp_path: Path) -> None:
    (path,) = written(tmp_path, hyperliquid(20_000))  # more than a pipe holds, which nobody reads
    task = ReadingTask(
        folder=str(tmp_path / "tape"),
        venue="hyperliquid",
        paths=[str(path)],
        line_format="collector",
        time_unit=None,
        metadata=[],
        segment_frames=1 << 30,
        segment_bytes=1 << 40,
        compression=FAST,
        compiled=False,
    )
    process = reading_apart._started()
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        reading_apart._write(process.stdin, msgspec.json.encode(task) + b"\n")
        assert process.stdout.read(1)
        process.stdin.close()
        assert process.wait() == 1


def test_two_are_taken_for_much_where_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    how = ImportOptions(venue="hyperliquid", line_format="collector")
    for processors, size, jobs in ((4, APART_BYTES, 2), (4, APART_BYTES - 1, 1), (2, APART_BYTES, 1)):
        monkeypatch.setattr("recordings.importing.importer.usable_processors", lambda found=processors: found)
        assert _jobs(how, size) == jobs
        assert _jobs(msgspec.structs.replace(how, threads=False), size) == 1
        assert _jobs(msgspec.structs.replace(how, jobs=2), size) == 2


@pytest.mark.slow
def test_the_command_takes_a_number_of_processes(tmp_path: Path) -> None:
    (path,) = written(tmp_path, hyperliquid(60))
    for jobs in (1, 3):
        arguments = ("collector", "--venue", "hyperliquid", path, "--jobs", str(jobs), "-o", tmp_path / f"by-{jobs}")
        assert run("import", *arguments).exit_code == 0
    assert files_of(tmp_path / "by-1") == files_of(tmp_path / "by-3")
    refused = run("import", "collector", "--venue", "hyperliquid", path, "--jobs", "0", "-o", tmp_path / "no")
    assert refused.exit_code == 2
    assert "--jobs" in only_error(refused)
