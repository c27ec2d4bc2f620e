"""What is in a file comes out of it, as far as it goes, and no further than it makes sense."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.importing import decompressing
from recordings.importing.capture_files import CaptureFile
from recordings.importing.decompressing import Content
from toolkit.errors import ImportFailed

CONTENT = b"".join(b'%d {"n":%d,"x":"%x"}\n' % (1_700_000_000_000_000_000 + n, n, hash((n, 7))) for n in range(9_000))


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, "zstd", asbytes=True)
    return packed


def lz4_checked(content: bytes) -> bytes:
    packed: bytes = lz4.frame.compress(content, content_checksum=True)
    return packed


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "lz4": lz4.frame.compress,
    "lz4 with a checksum": lz4_checked,
    "zstd": zstd,
}


def read(path: Path, packed: bytes) -> tuple[bytes, Content]:
    path.write_bytes(packed)
    content = Content(path)
    return b"".join(content), content


@pytest.mark.parametrize("kind", PACKED)
def test_a_file_comes_out_whole(tmp_path: Path, kind: str) -> None:
    text, content = read(tmp_path / "x", PACKED[kind](CONTENT))
    assert text == CONTENT
    assert (content.damage, content.is_altered) == ("", False)
    assert content.bytes_read == (tmp_path / "x").stat().st_size


def test_a_gzip_head_with_everything_in_it_is_read(tmp_path: Path) -> None:
    """Extra field, name, comment and checksum of the head (RFC 1952, 2.3)."""
    plain = gzip.compress(CONTENT)
    head = plain[:3] + bytes([4 | 8 | 16 | 2]) + plain[4:10] + b"\5\0extra" + b"name.txt\0" + b"a comment\0" + b"\1\2"
    text, content = read(tmp_path / "x", head + plain[10:])
    assert (text, content.damage, content.is_altered) == (CONTENT, "", False)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(PACKED)), st.integers(0, 10**9), st.integers(0, 7), st.booleans())
def test_damage_and_cuts_end_a_file_and_raise_nothing(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: int, bit: int, is_cut: bool
) -> None:
    """The same bytes come each time, and those of a file that was cut are the first of it."""
    packed = bytearray(PACKED[kind](CONTENT))
    place %= len(packed) - 8
    place += 8  # its kind stays what it is
    if is_cut:
        del packed[place:]
    else:
        packed[place] ^= 1 << bit
    path = tmp_path_factory.mktemp("damaged") / "x"
    text, content = read(path, bytes(packed))
    again, other = read(path, bytes(packed))
    assert (text, content.damage, content.is_altered) == (again, other.damage, other.is_altered)
    if is_cut:
        assert CONTENT.startswith(text)
        assert content.damage
        assert "altered" not in content.damage


@pytest.mark.parametrize("kind", ["gzip", "lz4 with a checksum"])
def test_a_wrong_checksum_takes_nothing_away(tmp_path: Path, kind: str) -> None:
    packed = bytearray(PACKED[kind](CONTENT))
    packed[-5 if kind == "gzip" else -1] ^= 1
    text, content = read(tmp_path / "x", bytes(packed))
    assert text == CONTENT
    assert content.is_altered or "altered lines may have been accepted" in content.damage


@pytest.mark.parametrize("byte", [b"\0", b"\n", b"x\n"])
def test_what_comes_out_of_all_proportion_is_given_up(
    tmp_path: Path, byte: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gibibyte out of a megabyte, and here less of both; the note is one line."""
    monkeypatch.setattr(decompressing, "RATIO_BYTES", 8 << 20)
    good = b"".join(CONTENT.splitlines(keepends=True)[:100])
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(good + byte * ((16 << 20) // len(byte)), 9))
    content = Content(path)
    assert sum(map(len, content)) <= 9 << 20
    assert (
        content.damage
        == "more than 300 bytes come out of each byte there, which no capture does: the rest was not read"
    )


def test_a_plain_file_is_given_whatever_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompressing, "RATIO_BYTES", 1 << 20)
    path = tmp_path / "zeros"
    path.write_bytes(bytes((3 << 20) + 5))
    assert sum(map(len, Content(path))) == (3 << 20) + 5


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (bz2.compress, "is compressed by bzip2, expected plain text, gzip, LZ4 or zstd: decompress it first (bunzip2)"),
        (lzma.compress, "is compressed by xz, expected plain text, gzip, LZ4 or zstd: decompress it first (unxz)"),
        (lambda content: content.decode().encode("utf-16"), "is UTF-16 or UTF-32, expected UTF-8: convert it first"),
        (lambda content: content.decode().encode("utf-16-be"), "is UTF-16 or UTF-32, expected UTF-8: convert it first"),
        (lambda content: content.decode().encode("utf-32"), "is UTF-16 or UTF-32, expected UTF-8: convert it first"),
        (lambda content: gzip.compress(content.decode().encode("utf-16-le")), "is UTF-16 or UTF-32, expected UTF-8"),
    ],
)
def test_what_is_known_and_not_read_is_named(tmp_path: Path, pack: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(pack(CONTENT))
    with pytest.raises(ImportFailed) as caught:
        CaptureFile(path, "collector").check()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("capture.txt", CONTENT)
    with pytest.raises(ImportFailed, match="is a zip archive, expected plain text"):
        CaptureFile(path, "collector").check()


@pytest.mark.parametrize("chunk", [1 << 16, 7])
@pytest.mark.parametrize("place", [0, 1, 2, 3, 12, 0.3])
def test_members_behind_one_that_is_damaged_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: float, chunk: int
) -> None:
    """Its head may be what is damaged, or what it holds; the lines of the others are whole, and the rest is named."""
    monkeypatch.setattr(decompressing, "_CHUNK", chunk)
    lines = CONTENT[:30_000].splitlines(keepends=True)
    parts = [b"".join(lines[:100]), b"".join(lines[100:300]), b"".join(lines[300:])]
    members = [gzip.compress(part) for part in parts]
    damaged = bytearray(members[1])
    at = place if isinstance(place, int) else int(place * len(damaged))
    damaged[at] ^= 0xFF
    path = tmp_path / "capture.gz"
    path.write_bytes(members[0] + bytes(damaged) + members[2])
    content = Content(path)
    text = b"".join(content)
    assert text.startswith(parts[0])
    assert text.endswith(b"\n" + parts[2])
    (begin, end) = content.skipped[0]
    assert (begin, end) == (len(members[0]), len(members[0]) + len(damaged))
    assert not content.damage
    assert f"bytes {begin:,} to {end:,}" in _note(path)


def test_two_damaged_members_are_passed_over(tmp_path: Path) -> None:
    """One after the other, and with something else between members."""
    members = [gzip.compress(CONTENT[number * 5000 : number * 5000 + 5000]) for number in range(5)]
    broken = b"".join(
        [
            members[0],
            b"\0\0" + members[1][1:],
            b"no gzip at all\x1f\x8b\x08",
            members[2],
            b"x" + members[3][1:],
            members[4],
        ]
    )
    path = tmp_path / "capture.gz"
    path.write_bytes(broken)
    content = Content(path)
    text = b"".join(content)
    assert text == b"\n".join(CONTENT[begin : begin + 5000] for begin in (0, 10_000, 20_000))
    assert len(content.skipped) == 2


def test_garbage_behind_the_last_member_is_told(tmp_path: Path) -> None:
    """There is nothing to go on with."""
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(CONTENT) + b"\x1f\x8b\x08\0garbage")
    content = Content(path)
    assert b"".join(content) == CONTENT
    assert content.damage
    assert not content.skipped


def _note(path: Path) -> str:
    file = CaptureFile(path, "collector")
    for _ in file:
        pass
    return file.note
