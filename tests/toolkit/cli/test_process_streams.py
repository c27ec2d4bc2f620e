"""Standard output that is full, closed or no longer read, and a second Ctrl-C: one line, a status, never a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tapes import mixed_tape

#: Runs commands, each in a fork, with standard output as named; gives statuses and what went to standard error.
DRIVER = """
import json, os, sys, tempfile
from toolkit.cli.main import main
found = []
for how, words in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            if how == "full":
                os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
            elif how == "closed":
                os.close(1)
                sys.stdout = None
            else:
                reader, writer = os.pipe()
                os.dup2(writer, 1)
                os.close(reader)
            sys.argv = ["tickdeck", *words]
            main()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        found.append([status, said.read().decode()])
print(json.dumps(found))
"""
ERRORS = {
    "full": (1, "Error: standard output cannot be written: No space left on device\n"),
    "closed": (1, "Error: standard output cannot be written: Bad file descriptor\n"),
    "unread": (141, "Error: what reads standard output has closed it before its end\n"),
}


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(mixed_tape(tmp_path_factory.mktemp("streams") / "tape", frames=30).path)


def refused(cases: list[tuple[str, tuple[str, ...]]]) -> None:
    """Each of those commands ends with the line and the status of its kind of output."""
    done = subprocess.run([sys.executable, "-c", DRIVER, json.dumps(cases)], capture_output=True, text=True, check=True)
    found: list[Any] = json.loads(done.stdout)
    assert [tuple(each) for each in found] == [ERRORS[how] for how, _ in cases]


def test_output_that_nobody_takes_is_one_line(tape: str) -> None:
    refused([("full", ("info", tape)), ("closed", ("--help",)), ("unread", ("replay", tape, "--print"))])


@pytest.mark.slow
@pytest.mark.parametrize("how", ERRORS)
def test_output_that_nobody_takes_is_one_line_in_every_command(tape: str, how: str) -> None:
    commands: list[tuple[str, ...]] = [
        ("--version",),
        ("info", tape, "--json"),
        ("gaps", tape, "--json"),
        ("sql", tape, "SELECT * FROM trades"),
        ("sql", tape),
        ("replay", tape),
        ("follow", tape, "--print"),
        ("verify", tape),
        ("ls", str(Path(tape).parent)),
        ("analyze", "spreads", tape),
        ("analyze", "spreads", tape, "--csv"),
    ]
    refused([(how, words) for words in commands])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_command_that_waits(number: signal.Signals) -> None:
    """As that signal does, so that a shell says 130 for Ctrl-C."""
    program = (
        "import asyncio, signal\n"
        "from toolkit.cli.process import prepare, stopped_by_signals\n"
        "async def stay():\n"
        "    with stopped_by_signals(asyncio.get_running_loop(), lambda: print('stopping', flush=True)):\n"
        f"        signal.raise_signal({int(number)})\n"
        "        await asyncio.sleep(0)\n"
        f"        signal.raise_signal({int(number)})\n"
        "        await asyncio.Event().wait()\n"
        "prepare()\nasyncio.run(stay())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-number, "stopping\n", "")


def test_a_second_interrupt_ends_what_cleans_up() -> None:
    program = (
        "import signal\nfrom toolkit.cli import main as module\n"
        "def work(args):\n"
        "    try:\n        signal.raise_signal(signal.SIGINT)\n"
        "    finally:\n        signal.raise_signal(signal.SIGINT)\n        print('still here')\n"
        "module._invoke = work\nmodule.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_an_interrupt_is_one_line_and_status_130() -> None:
    program = (
        "import signal\nfrom toolkit.cli import main as module\n"
        "module._invoke = lambda args: signal.raise_signal(signal.SIGINT)\nmodule.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Aborted.\n")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("-",), id="reads"),
        pytest.param(("SELECT range FROM range(10000000)",), id="writes", marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_ends_what_waits_for_a_pipe(tape: str, words: tuple[str, ...]) -> None:
    """Though libraries that are loaded by then ask the system to go on waiting."""
    program = "import polars\nfrom toolkit.cli.start import main\nmain()"
    command = [sys.executable, "-c", program, "sql", tape, *words, "--csv"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not waits(process.pid):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        # Nothing is read or written meanwhile, which would end the waiting too.
        assert process.wait() == 130
        assert process.stderr is not None
        assert process.stderr.read() == "Aborted.\n"


def waits(pid: int) -> bool:
    """Whether a process waits for a pipe."""
    try:
        return "pipe" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


def test_an_interrupt_while_modules_are_loaded_is_one_line_too() -> None:
    program = (
        "import signal, sys\nfrom toolkit.cli.start import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'toolkit.cli.main':\n            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupted())\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Aborted.\n")


def test_a_name_that_is_no_text_is_shown_as_an_escape(tmp_path: Path) -> None:
    name = bytes(tmp_path) + b"/\xff"
    done = subprocess.run([sys.executable, "-m", "toolkit.cli", "ls", name], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"\\udcff is no folder" in done.stderr
