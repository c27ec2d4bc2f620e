"""Where compiled code is kept: whatever becomes of that place, the work is done."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.kernels import disk_cache as shelf
from toolkit.messages import SIDE_NOT_TOLD

PROGRAM = """
from toolkit.kernels.compiling import kernel
@kernel
def add(a, b):
    return a + b
print(add(2, 3), len(add._cache._cache_path) > 0 if add._cache is not None and hasattr(add._cache, "_cache_path") else "")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place of its own, and nothing remembered of another one."""
    monkeypatch.setenv("TICKDECK_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setattr(shelf, "_problems", [])
    for function in (shelf.kernel_folder, shelf.usable_folder):
        function.cache_clear()
    yield tmp_path / "kernels"
    for function in (shelf.kernel_folder, shelf.usable_folder):
        function.cache_clear()


def installed(folder: Path, text: str) -> Any:
    """A function of a module of that text, as it is installed in a folder."""
    folder.mkdir()
    path = folder / "kernel_there.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("replay.some.kernel_there", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.add


def test_another_installation_of_the_same_sources_compiles_nothing_again(place: Path, tmp_path: Path) -> None:
    """What is said to be compiled goes by the sources, and not by where they are; of others nothing is taken."""
    text = PROGRAM.partition("print")[0]
    for name, source, answer, hits in (
        ("one", text, 5, 0),
        ("other", text, 5, 1),
        ("changed", text.replace("a + b", "a * b"), 6, 0),
    ):
        add = installed(tmp_path / name, source)
        assert add(2, 3) == answer
        assert sum(add.stats.cache_hits.values()) == hits
    assert [path.name for path in shelf.kernel_folder(above=True).iterdir()] == ["replay.some"]


def cannot_write(monkeypatch: pytest.MonkeyPatch, *, nowhere: bool = False) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(shelf, "_try_writing", refuse)
    if nowhere:
        monkeypatch.setattr("toolkit.kernels.disk_cache.tempfile.mkdtemp", refuse)


def test_it_is_a_folder_that_can_be_written_to(place: Path) -> None:
    assert shelf.usable_folder() == shelf.kernel_folder()
    assert not shelf.are_compiled()
    shelf.note_compiled()
    assert shelf.are_compiled()
    assert shelf.shelf_problem() == ""


def test_a_change_above_leaves_the_code_that_imports_and_seals(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each change of a strategy's engine would compile all of it again, which takes longer than a short import."""
    for name in ("toolkit/kernels/levels.py", "replay/market/kernel_core.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(shelf, "_PACKAGE", tmp_path / "toolkit")

    def folders() -> tuple[Path, Path]:
        shelf.kernel_folder.cache_clear()
        return shelf.kernel_folder(), shelf.kernel_folder(above=True)

    below, above = folders()
    (tmp_path / "replay/market/kernel_core.py").write_text("2")
    assert folders()[0] == below
    assert folders()[1] != above
    (tmp_path / "toolkit/kernels/levels.py").write_text("2")
    assert folders()[0] not in (below, above)


def test_the_core_has_a_folder_of_its_own(place: Path) -> None:
    shelf.note_compiled("matching")
    assert not shelf.are_compiled()
    assert shelf.are_compiled("matching")
    assert (shelf.kernel_folder(above=True) / "matching").is_file()


def test_what_is_compiled_is_used_from_where_nobody_can_write(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that brings it, mounted read-only: numba reads code only from where it can write, so from a copy."""
    shelf.kernel_folder().mkdir(parents=True)
    (shelf.kernel_folder() / "ready").touch()
    (shelf.kernel_folder() / "code").write_bytes(b"machine code")
    cannot_write(monkeypatch)
    used = shelf.usable_folder()
    assert used is not None
    assert used != shelf.kernel_folder()
    assert (used / "code").read_bytes() == b"machine code"
    assert shelf.are_compiled()
    assert shelf.shelf_problem() == ""


@pytest.mark.parametrize("is_ready", [True, False])
def test_without_any_place_nothing_is_compiled_and_it_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch, is_ready: bool
) -> None:
    if is_ready:
        shelf.kernel_folder().mkdir(parents=True)
        (shelf.kernel_folder() / "ready").touch()
    cannot_write(monkeypatch, nowhere=True)
    assert shelf.usable_folder() is None
    assert not shelf.are_compiled()
    shelf.note_compiled()
    assert shelf.shelf_problem() == (
        f"compiled code has no place: {shelf.kernel_folder()} cannot be written (Read-only file system); the work is done "
        "without it, slower and the same"
    )


@pytest.mark.slow
def test_torn_files_are_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut leaves an index of no bytes, or of others: reading it must not stop what it was to speed up."""
    monkeypatch.setenv("TICKDECK_KERNELS", str(tmp_path))
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)

    def run() -> str:
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[0]

    assert run() == "5"
    kept = [path for path in tmp_path.rglob("*") if path.suffix in (".nbi", ".nbc")]
    assert kept
    for content in (b"", b"torn", kept[0].read_bytes()[:50]):
        for path in kept:
            path.write_bytes(content)
        assert run() == "5"
    for path in kept:
        path.unlink()
        path.mkdir()
    assert run() == "5"


@pytest.mark.slow
def test_code_without_a_place_is_compiled_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody asks for it all the same."""
    monkeypatch.setenv("TICKDECK_KERNELS", "/proc/nowhere")
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["5"]), done.stderr


def test_every_module_with_kernels_is_in_the_name_of_the_folder() -> None:
    """Else a change of one would leave the machine code of those that call it."""
    root = Path(shelf.__file__).resolve().parents[2]
    packages = ("toolkit", "recordings", "replay", "analysis")
    sources = {path for package in packages for path in (root / package).rglob("*.py")}
    with_kernels = {path for path in sources if re.search(r"^@kernel$", path.read_text(encoding="utf-8"), re.MULTILINE)}
    hashed = {path for pattern in shelf._SOURCES_ABOVE for path in root.glob(pattern)}
    below = {path for pattern in shelf._SOURCES for path in root.glob(pattern)}
    assert with_kernels - hashed == set()
    assert {path for path in with_kernels if path.is_relative_to(root / "toolkit")} - below == set()
    # Constants are compiled in: what kernels import from elsewhere counts as they do.
    imported = re.compile(rf"^from ((?:{'|'.join(packages)})\.[\w.]+) import (\w+)", re.M)
    for path in with_kernels:
        for module, name in imported.findall(path.read_text(encoding="utf-8")):
            place = root.joinpath(*module.split("."))
            place = place / f"{name}.py" if place.is_dir() else place.with_suffix(".py")
            needed = below if path in below else hashed
            assert place in needed or (module, name) == ("toolkit.messages", "SIDE_NOT_TOLD"), (path.name, module, name)
    assert any("market" in path.parts for path in with_kernels)
    # That file changes often, and this number of it never: it stands in recordings.
    assert SIDE_NOT_TOLD == -1
