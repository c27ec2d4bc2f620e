"""What the project says about itself agrees with itself."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


PACKAGES = ("tickdeck", "toolkit", "recordings", "replay", "analysis")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_marked_as_typed(package: str) -> None:
    """Without py.typed a user's type checker ignores our types."""
    assert (ROOT / package / "py.typed").is_file()


def test_the_changelog_knows_the_version() -> None:
    """The newest heading is either what is being worked on or the version of the package."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] in ("Unreleased", version)


def test_make_help_lists_every_target() -> None:
    """A target that help does not show is not found by anyone."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)
    assert _make("help") == _make()
    assert re.findall(r"^make ([a-z-]+) ", _make(), re.MULTILINE) == targets


def test_every_pin_is_exact_and_names_no_place() -> None:
    """The constraints work on any machine: names and versions, no paths, no hosts."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin)] == []


def test_every_dependency_is_pinned() -> None:
    """A set-up today and one next year agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["dev"]]
    wanted += project["build-system"]["requires"]
    pinned = {
        line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }
    assert [name for line in wanted if (name := re.split(r"[<>=!~\[; ]", line)[0].lower()) not in pinned] == []


#: A deadline of a test's own: a second or more. A shorter one waits for what must not come.
_OWN_DEADLINE = re.compile(
    r"asyncio\.timeout\([1-9]|\btimeout=[1-9]|wait_for\([^\n]*, *[1-9][0-9.]*\)|(?:process|thread|event)\.(?:wait|join)\([1-9]"
    r"|\.communicate\([^)]*timeout=[1-9]|\.result\([1-9]"
)


def test_entries_of_docstrings_begin_with_nouns() -> None:
    """An entry of Args or Attributes that begins with a pronoun says no more than its name and type do."""
    pronoun = re.compile(r"^ {4,}\*{0,2}[a-z_][\w, ]*: (?:What|Which|Of|It|Who|Those|That|Ditto)\b.*", re.MULTILINE)
    assert pronoun.search("    Args:\n        names: What pairs are called by.\n")
    assert not pronoun.search("        names: Names of the pairs. What is new is added.\n")
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    # Text of kernels names the folder of their machine code: it is not changed for a word.
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sources
        if not path.name.startswith("kernel_")
        for line in pronoun.findall(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_no_test_measures_speed_by_a_deadline_of_its_own() -> None:
    """There is one, of minutes, in `tests/deadlines.py`: a busy machine fails no test."""
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path.name not in ("test_project.py", "test_layers.py") and "soak" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if _OWN_DEADLINE.search(line)
    ]
    assert found == []


def _make(*targets: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(["make", *targets], cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout
