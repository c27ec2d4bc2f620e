"""Old recordings open: one small step per version of the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings import manifest, migrations
from recordings.manifest import MANIFEST_NAME, read_manifest
from recordings.migrations import MIGRATIONS, migrated
from recordings.schema import FORMAT_VERSION


def test_there_is_a_step_from_every_older_version() -> None:
    assert sorted(MIGRATIONS) == list(range(1, FORMAT_VERSION))


def test_the_present_version_is_left_as_it_is() -> None:
    assert migrated(b"anything", FORMAT_VERSION) == b"anything"


def test_steps_follow_each_other_up_to_the_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here with two versions that have yet to come."""

    def rename(text: dict[str, Any]) -> dict[str, Any]:
        return {"software" if name == "program" else name: value for name, value in text.items()}

    def mark(text: dict[str, Any]) -> dict[str, Any]:
        assert text["format_version"] == FORMAT_VERSION + 1
        return text | {"software": text["software"] + "!"}

    monkeypatch.setitem(MIGRATIONS, FORMAT_VERSION, rename)
    monkeypatch.setitem(MIGRATIONS, FORMAT_VERSION + 1, mark)
    for module in (migrations, manifest):
        monkeypatch.setattr(module, "FORMAT_VERSION", FORMAT_VERSION + 2)
    old = {"format": "tickdeck-recording", "format_version": FORMAT_VERSION, "program": "tickdeck 0"}
    (tmp_path / MANIFEST_NAME).write_bytes(msgspec.json.encode(old))
    found = read_manifest(tmp_path)
    assert (found.software, found.format_version) == ("tickdeck 0!", FORMAT_VERSION + 2)
