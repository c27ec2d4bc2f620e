"""Golden recordings open, verify, replay and renormalize to what they always did."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest
from recordings.format.schema import FORMAT_VERSION
from tests.golden.expectations import RECORDINGS, expected, found, found_renormalized, protocol_version
from toolkit.venue import venues

each = pytest.mark.parametrize("folder", RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.name}")


def test_there_is_one_of_each_venue_and_format_version() -> None:
    kept = {(path.parent.name, path.name) for path in RECORDINGS}
    assert kept == {(f"format-{version}", venue) for version in range(1, FORMAT_VERSION + 1) for venue in venues()}


@each
def test_it_is_sound_and_holds_what_it_always_did(folder: Path) -> None:
    values = expected(folder)
    del values["protocols"]
    assert found(folder) == values
    result = verify(folder)
    assert result.is_sound, result.problems
    assert result.normalized_digest == values["digest"] == read_manifest(folder).digest


@each
def test_its_raw_frames_give_what_they_did_with_this_version_of_the_protocol(folder: Path, tmp_path: Path) -> None:
    """A version that was raised needs `python -m tests.golden`, which adds its expectation beside the others."""
    version = protocol_version(read_manifest(folder))
    assert found_renormalized(folder, tmp_path) == expected(folder)["protocols"][version]
