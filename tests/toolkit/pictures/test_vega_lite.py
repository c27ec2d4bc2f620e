"""Pictures, and how many points of time they have room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import ConfigError
from toolkit.pictures.vega_lite import bucket_ns, check_ending, png


@pytest.mark.parametrize("span", [1, 10**9, 3600 * 10**9, 86400 * 10**9, 90 * 86400 * 10**9, 3000 * 86400 * 10**9])
def test_a_panel_never_has_more_than_600_buckets(span: int) -> None:
    assert -(-span // bucket_ns(span)) <= 600


@pytest.mark.parametrize("name", ["a.svg", "a", "png"])
def test_a_picture_of_another_kind_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.png or \.html$"):
        check_ending(Path(name))


def test_what_is_no_picture_is_one_error() -> None:
    with pytest.raises(ConfigError, match=r"^the picture cannot be drawn \(.*\); draw a \.html$"):
        png({"mark": 5})
