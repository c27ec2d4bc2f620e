"""Sealed files are opened in one place, and an open one stays what it was."""

from __future__ import annotations

import ast
import os
from hashlib import blake2b
from pathlib import Path

import pytest

from recordings.storage.sealed_files import LocalFile

ROOT = Path(__file__).resolve().parents[3]
#: Where sealed files are read.
READERS = ("recordings/reading", "recordings/queries", "recordings/columns", "recordings/states", "analysis")
#: What opens a file, or looks at one, by its path.
OPENERS = {
    "open a file",
    "open_regular",
    "read_regular",
    "read_bytes",
    "read_text",
    "stat",
    "lstat",
    "OSFile",
    "memory_map",
}
#: What is no sealed file: journals and the manifest of a recording that grows, and what is written.
OTHERS = {
    ("recordings/queries/several_recordings.py", "stat"): "the manifest",
    ("recordings/reading/growing.py", "stat"): "journals, and the manifest",
    ("recordings/reading/loss.py", "stat"): "the manifest",
    ("recordings/reading/tail.py", "stat"): "journals",
    ("recordings/reading/unsealed.py", "open_regular"): "journals",
    ("recordings/states/seek_points.py", "stat"): "a file that was just written",
}


def names_called(path: Path) -> set[str]:
    """Functions and methods that a module calls; `open` with a mode is another thing than that of a recording."""
    found = set()
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            modes = [each.value for each in call.args if isinstance(each, ast.Constant)]
            found.add("open a file" if name == "open" and {"r", "rb"} & {*modes} else name)
    return found


def test_readers_open_sealed_files_in_one_place() -> None:
    """Another kind of storage is another class there. Engines that open by name get it from `checked_path`."""
    modules = [path for folder in READERS for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 20
    found = {(path.relative_to(ROOT).as_posix(), name) for path in modules for name in names_called(path) & OPENERS}
    assert found == set(OTHERS)


@pytest.mark.parametrize("text", ["path.read_bytes()", "pa.OSFile(str(path))", "open_regular(path)", 'path.open("rb")'])
def test_another_way_is_found(tmp_path: Path, text: str) -> None:
    module = tmp_path / "module.py"
    module.write_text(text)
    assert names_called(module) & OPENERS


def test_a_file_is_read_by_place_and_length(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(3 << 20)
    path.write_bytes(content)
    with LocalFile(path) as opened:
        assert opened.read(5, 7) == content[5:12]
        assert opened.read(len(content) - 3, 100) == content[-3:]
        assert opened.read(len(content) + 1, 1) == b""
        assert opened.read(0, opened.state().size) == content
        assert opened.hash() == blake2b(content, digest_size=32).hexdigest()
        with opened.arrow() as arrow:
            assert arrow.read() == content


def test_an_open_file_stays_what_it_was(tmp_path: Path) -> None:
    """Whatever its name leads to meanwhile; what opens by name says so."""
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"one")
    other.write_bytes(b"two")
    with LocalFile(path) as opened:
        before = opened.state()
        other.replace(path)
        assert opened.read(0, 3) == b"one"
        assert opened.state().inode == before.inode
        with pytest.raises(FileNotFoundError, match="was replaced while it was opened"):
            opened.arrow()
        path.unlink()
        with pytest.raises(FileNotFoundError):
            opened.arrow()
    path.write_bytes(b"three")
    with LocalFile(path) as opened:
        assert opened.state() != before


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        with pytest.raises(OSError, match=r"no regular file|No such file"):
            LocalFile(path)
