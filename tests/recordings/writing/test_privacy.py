"""Addresses replaced while recording: nowhere on disk, the same for everybody who sees the frames."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.recording import Recording
from recordings.writing.privacy import PrivateCapture, Pseudonyms
from replay.embedded import EmbeddedVenue
from replay.source import ReplayDataSource
from tests.deadlines import HANG_S
from toolkit.account_messages import Fill, OrderUpdate
from toolkit.cli.output.status_page import status_values
from toolkit.clock import SystemClock
from toolkit.errors import ConfigError, ConnectFailed
from toolkit.frames import REST_OUT, WS_IN, WS_OUT, Frame
from toolkit.messages import Message
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

KEY = bytes(range(32))
ADDRESS = b"0x" + b"Ab" * 20


def test_an_address_gets_another_of_the_same_length_whatever_its_case() -> None:
    names = Pseudonyms(KEY)
    hidden = names.hide(b'{"user":"' + ADDRESS + b'"}')
    found = re.fullmatch(rb'\{"user":"(0x[0-9a-f]{40})"\}', hidden)
    assert found is not None
    assert found[1] != ADDRESS.lower()
    assert names.hide(ADDRESS.lower()) == names.hide(ADDRESS) == found[1]
    assert Pseudonyms(bytes(32)).hide(ADDRESS) != found[1]


@pytest.mark.parametrize("digits", [32, 40, 64])
def test_ids_and_transactions_are_hidden_too(digits: int) -> None:
    text = b"0x" + b"7" * digits
    assert Pseudonyms(KEY).hide(text) != text


@pytest.mark.parametrize("text", [b"0x" + b"0" * 40, b"0x" + b"1" * 39, b"0x" + b"1" * 41, b"0x" + b"1" * 128, b"x"])
def test_what_is_no_address_stays(text: bytes) -> None:
    assert Pseudonyms(KEY).hide(text) == text


@given(st.binary(max_size=200), st.binary(min_size=20, max_size=20))
def test_hiding_again_after_revealing_gives_the_same(noise: bytes, address: bytes) -> None:
    names = Pseudonyms(KEY)
    real = f"0x{address.hex()}".encode()
    hidden = names.remember(real)
    payload = noise + b' "' + hidden + b'"'
    sent = names.reveal(payload)
    assert sent.endswith(real + b'"')
    assert names.hide(sent).endswith(hidden + b'"')
    assert names.hide(hidden) == hidden


def test_a_pseudonym_that_nobody_asked_to_remember_is_not_revealed() -> None:
    names = Pseudonyms(KEY)
    hidden = names.hide(ADDRESS)
    assert names.reveal(hidden) == hidden


def test_the_sink_and_the_protocol_get_the_same_frame() -> None:
    written: list[Frame] = []
    capture = PrivateCapture(Pseudonyms(KEY), sink=written.append)
    frame = capture.record("hyperliquid", 0, 0, WS_IN, ADDRESS, f'{{"tag":"{ADDRESS.decode()}"}}')
    assert written == [frame]
    assert ADDRESS not in frame.payload
    assert frame.context is not None
    assert ADDRESS.decode() not in frame.context


def test_frames_from_elsewhere_are_hidden_by_the_wrapped_sink() -> None:
    written: list[Frame] = []
    Pseudonyms(KEY).wrap(written.append)(Frame(0, 1, 1, "v", 0, 0, WS_IN, ADDRESS, ADDRESS.decode()))
    assert written[0].payload == (written[0].context or "").encode() != ADDRESS


def test_a_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = Pseudonyms.from_file(path).hide(ADDRESS)
    assert Pseudonyms.from_file(path).hide(ADDRESS) == first
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "abc", "00" * 31])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"holds no key: expected 64 hexadecimal digits"):
        Pseudonyms.from_file(path)


def test_no_real_address_reaches_the_disk(tmp_path: Path) -> None:
    """Yet the account is followed, and the replay is the session."""
    folder = tmp_path / "tape"
    live: list[Message] = []

    async def main() -> tuple[str, str]:
        async with EmbeddedVenue(seed=3, clock=SystemClock()) as venue:
            # An agent wallet: whom it acts for is learnt on the way, and just as secret.
            address, owner = venue.accounts["agent"], venue.accounts["maker"]
            wanted = VenueRequest(
                spec=find_venue("hyperliquid"),
                options=ProtocolOptions(pairs=("BTC-USD",), accounts=(address,)),
                ws_url=venue.ws_url,
                rest_url=venue.rest_url,
            )
            options = RecorderOptions(folder=folder, venues=[wanted], backoff_seed=1, privacy=Pseudonyms(KEY))
            recorder = Recorder(options)
            recorder.dispatcher.add_callback(live.append)
            async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
                run = group.create_task(recorder.run())
                while len({type(message) for message in live} & {Fill, OrderUpdate}) < 2 or len(live) < 100:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                recorder.stop()
                await run
            return address, owner

    address, owner = asyncio.run(main())
    recording = Recording.open(folder)
    payloads = [(frame.kind, frame.payload, frame.context or "") for page in recording.raw_frames() for frame in page]
    names = Pseudonyms(KEY)
    for real in (address, owner):
        hidden = names.hide(real.encode())
        assert not any(real.encode() in payload or real in context for _, payload, context in payloads)
        assert any(hidden in payload for kind, payload, _ in payloads if kind == REST_OUT)
        assert not any(real.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert any(hidden in payload for kind, payload, _ in payloads if kind == WS_OUT)
    assert recording.manifest.sources[0].accounts == (names.hide(address.encode()).decode(),)
    assert {message.account for message in live if isinstance(message, Fill)} == {hidden.decode()}
    replayed: list[Message] = []
    source = ReplayDataSource(folder, fidelity="raw")
    source.set_message_callback(replayed.append)
    source.play()
    assert replayed == live


@pytest.mark.parametrize("is_reachable", [True, False])
def test_the_secrets_of_urls_are_in_no_file_frame_line_or_status(tmp_path: Path, is_reachable: bool) -> None:
    """User, password and token get the recorder in, or it fails with them; nothing that it writes has them."""
    folder, lines = tmp_path / "tape", list[str]()
    secrets = ("joesname", "hunter22", "t0pSecret", "0123456789abcdef0123456789abcdef")

    async def main() -> None:
        async with EmbeddedVenue(seed=3, clock=SystemClock()) as venue:

            def with_secrets(url: str) -> str:
                scheme, _, rest = url.partition("://")
                key = "" if is_reachable else "/0123456789abcdef0123456789abcdef"
                return f"{scheme}://joesname:hunter22@{rest}{key}?token=t0pSecret"

            wanted = VenueRequest(
                spec=find_venue("hyperliquid"),
                options=ProtocolOptions(pairs=("BTC-USD",)),
                ws_url=with_secrets(venue.ws_url),
                rest_url=with_secrets(venue.rest_url) if is_reachable else venue.rest_url,
            )
            options = RecorderOptions(folder=folder, venues=[wanted], backoff_seed=1, disk_free_min=0)
            recorder = Recorder(options, log=lines.append)
            async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
                run = group.create_task(recorder.run())
                while not run.done() and recorder.status.frame_count < 100:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                lines.append(json.dumps(status_values(recorder), default=str))
                recorder.stop()
                try:
                    await run
                except ConnectFailed as exc:
                    lines.append(str(exc))

    try:
        asyncio.run(main())
    except BaseExceptionGroup as group:  # of a recorder that failed before it was asked to stop
        lines.extend(str(each) for each in group.exceptions)
    recording = Recording.open(folder)
    said = [*lines, (folder / "recording.json").read_text(encoding="utf-8")]
    said += [f"{frame.payload!r} {frame.context}" for page in recording.raw_frames() for frame in page]
    assert any("***" in text for text in said)
    for secret in secrets:
        assert not any(secret in text for text in said), secret
