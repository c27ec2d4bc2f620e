"""Files and folders of a user that have the name of one of our packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded_recording import ROOT

NAMES = ("analysis", "recordings", "replay", "toolkit")


def python(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python, started in that folder, where tickdeck is on the path."""
    path = os.pathsep.join([*([environment["PYTHONPATH"]] if environment else []), str(ROOT)])
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def put(folder: Path, name: str, kind: str) -> Path:
    """A module of that name, as a file or as a package."""
    if kind == "file":
        place = folder / f"{name}.py"
        place.write_text("x = 1\n")
    else:
        place = folder / name
        place.mkdir()
        (place / "__init__.py").write_text("")
    return place


def line(place: Path, name: str) -> str:
    return (
        f"Error: {place} hides tickdeck's package '{name}': rename it, "
        "or take its folder off the path (start Python elsewhere, see PYTHONPATH)\n"
    )


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("name", NAMES)
def test_the_import_and_the_command_say_in_one_line_what_hides_what(tmp_path: Path, name: str, kind: str) -> None:
    place = put(tmp_path, name, kind)
    for words in (["-c", "import tickdeck"], ["-m", "tickdeck", "--version"]):
        done = python(tmp_path, *words)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", line(place, name))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_stands_first_on_the_path_hides_as_well(tmp_path: Path, kind: str) -> None:
    """The command's own script does not look into the folder where it is started, but into PYTHONPATH."""
    (tmp_path / "mine").mkdir()
    place = put(tmp_path / "mine", "analysis", kind)
    program = "from tickdeck.__main__ import main; main()"
    done = python(tmp_path, "-c", program, PYTHONPATH=str(tmp_path / "mine"))
    assert (done.returncode, done.stderr) == (1, line(place, "analysis"))


def test_a_script_of_such_a_name_hides_the_package_from_itself(tmp_path: Path) -> None:
    (tmp_path / "replay.py").write_text("import tickdeck as td\nprint(td.open)\n")
    done = python(tmp_path, "replay.py")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line(tmp_path / "replay.py", "replay"))


def test_it_can_be_caught_as_an_import_error_and_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    put(tmp_path, "toolkit", "file")
    program = "try:\n    import tickdeck\nexcept ImportError as exc:\n    print(exc.name, exc.path)\n1 / 0"
    done = python(tmp_path, "-c", program)
    assert done.stdout == f"toolkit {tmp_path / 'toolkit.py'}\n"
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_a_module_that_was_loaded_before_is_found(tmp_path: Path) -> None:
    """Off the path by then, it is what an import of that name gives all the same."""
    place = put(tmp_path, "recordings", "file")
    program = "import recordings, sys; sys.path.remove(''); import tickdeck"
    assert python(tmp_path, "-c", program).stderr == line(place, "recordings")


def test_what_hides_nothing_is_let_be(tmp_path: Path) -> None:
    """A folder without code (Python prefers a package), other names, and modules within a package of the user's."""
    for name in NAMES:
        (tmp_path / name).mkdir()
    put(tmp_path, "strategy", "folder")
    put(tmp_path / "strategy", "analysis", "file")
    put(tmp_path, "replays", "file")
    done = python(tmp_path, "-c", "import tickdeck as td; print(td.Side.BUY)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "buy\n", "")
