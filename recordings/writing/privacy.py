"""
Addresses replaced while recording, before anything is written or understood.

Every `0x` with exactly 40, 64 or 32 hexadecimal digits (an address, a transaction, a client's order id) becomes another
one of the same length: a BLAKE2b hash of it under a key that only its owner has. The same address is always the same
pseudonym under the same key, so accounts stay apart and orders stay linked; without the key no one can compute or test
one. The journal, the protocol and so the replay see the same, replaced bytes; only what goes out to the venue has the
real address. `docs/privacy.md` says what a recording reveals all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from toolkit.clock import Clock
from toolkit.errors import ConfigError
from toolkit.frames import REST_IN, Frame
from toolkit.live.capture import Capture, FrameSink
from toolkit.protocol import ProtocolOptions
from toolkit.rng import fresh_key

__all__ = ["PrivateCapture", "Pseudonyms", "capture_with"]

KEY_BYTES: Final = 32
#: Pseudonyms remembered; trades name thousands of addresses in an hour.
REMEMBERED: Final = 65_536
#: Replies of up to this length name accounts rather than trades or transfers.
SHORT_REPLY_BYTES: Final = 256

_SECRET: Final = re.compile(rb"0x(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32})(?![0-9a-fA-F])")


class Pseudonyms:
    """
    Replaces addresses by keyed hashes, and those it has to remember back.

    Args:
        key: 32 secret bytes.

    Raises:
        ConfigError: The key has another length.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigError(f"a key to hide addresses with has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._hidden: dict[bytes, bytes] = {}
        self._real: dict[bytes, bytes] = {}

    @classmethod
    def from_file(cls, path: Path, *, makes: bool = True) -> Pseudonyms:
        """
        With the key in a file (64 hexadecimal digits); a new key is made where there is none.

        Args:
            path: The file.
            makes: Write a new key down; without, it is lost.

        Raises ConfigError for a file that holds something else, or cannot be read or written.
        """
        try:
            if not path.exists():
                if not makes:
                    if not os.access(path.parent, os.W_OK | os.X_OK):
                        raise ConfigError(f"{path} cannot hold a key: {path.parent} is no folder that can be written")
                    return cls(fresh_key())
                path.touch(mode=0o600, exist_ok=False)
                path.write_text(fresh_key().hex() + "\n", encoding="ascii")
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
            if len(key) != KEY_BYTES:
                raise ValueError(key)
            return cls(key)
        except OSError as exc:
            raise ConfigError(f"{path} cannot hold a key: {exc.strerror}") from None
        except ValueError:
            raise ConfigError(
                f"{path} holds no key: expected {2 * KEY_BYTES} hexadecimal digits; name another file to make a new key"
            ) from None

    def hide(self, payload: bytes) -> bytes:
        """The payload with every address, transaction and client's id replaced."""
        return _SECRET.sub(self._replace, payload) if b"0x" in payload else payload

    def reveal(self, payload: bytes) -> bytes:
        """The payload with the pseudonyms of remembered addresses replaced by them."""
        if not self._real or b"0x" not in payload:
            return payload
        return _SECRET.sub(lambda found: self._real.get(found[0], found[0]), payload)

    def remember(self, payload: bytes) -> bytes:
        """Hide addresses that `reveal` shall know from now on."""

        def replaced(found: re.Match[bytes]) -> bytes:
            hidden = self._replace(found)
            if hidden != found[0].lower():
                self._real[hidden] = found[0].lower()
            return hidden

        return _SECRET.sub(replaced, payload)

    def options(self, options: ProtocolOptions) -> ProtocolOptions:
        """Options with their accounts hidden, for a protocol and a manifest that must not know them."""
        return replace(options, accounts=tuple(self.remember(name.encode()).decode() for name in options.accounts))

    def wrap(self, sink: FrameSink) -> Callable[[Frame], None]:
        """A sink that is given frames with addresses hidden: for frames from elsewhere than a live capture."""

        def call(frame: Frame) -> None:
            context = frame.context
            if context is not None:
                context = self.hide(context.encode()).decode()
            sink(msgspec.structs.replace(frame, payload=self.hide(frame.payload), context=context))

        return call

    def _replace(self, found: re.Match[bytes]) -> bytes:
        # Addresses are the same in capitals; all zeros stand for no account.
        real = found[0].lower()
        if real in self._real:
            return real  # a pseudonym already: a protocol has only those to speak of accounts
        hidden = self._hidden.get(real)
        if hidden is None:
            size = (len(real) - 2) // 2
            digest = blake2b(real, digest_size=size, key=self._key).hexdigest().encode()
            hidden = b"0x" + digest if real.strip(b"0x") else real
            if len(self._hidden) >= REMEMBERED:
                self._hidden.clear()
            self._hidden[real] = hidden
        return hidden


class PrivateCapture(Capture):
    """
    A capture whose frames never hold a real address, whatever receives them.

    Args:
        pseudonyms: Decides what stands for an address.
        sink: Sink, as for `Capture`.
        clock: Clock, as for `Capture`.
        first_seq: Number of the first frame, as for `Capture`.
        first_conn_id: Number of the first connection, as for `Capture`.
    """

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        *,
        sink: FrameSink,
        clock: Clock | None = None,
        first_seq: int = 0,
        first_conn_id: int = 0,
    ) -> None:
        super().__init__(sink=sink, clock=clock, first_seq=first_seq, first_conn_id=first_conn_id)
        self._pseudonyms = pseudonyms

    def record(
        self, venue: str, conn_id: int, conn_epoch: int, kind: str, payload: bytes, context: str | None = None
    ) -> Frame:
        """Hide, then do as `Capture` does."""
        if context is not None:
            context = self._pseudonyms.hide(context.encode()).decode()
        # Who an agent wallet acts for is said in a short reply, and then asked about.
        is_reply = kind == REST_IN and len(payload) <= SHORT_REPLY_BYTES
        hidden = self._pseudonyms.remember(payload) if is_reply else self._pseudonyms.hide(payload)
        return super().record(venue, conn_id, conn_epoch, kind, hidden, context)

    def outgoing(self, payload: bytes) -> bytes:
        """With the real addresses: the venue knows no others."""
        return self._pseudonyms.reveal(payload)


def capture_with(
    privacy: Pseudonyms | None, sink: FrameSink, clock: Clock, first_seq: int, first_conn_id: int
) -> Capture:
    """A capture that hides addresses, or one that does not."""
    if privacy is None:
        return Capture(sink=sink, clock=clock, first_seq=first_seq, first_conn_id=first_conn_id)
    return PrivateCapture(privacy, sink=sink, clock=clock, first_seq=first_seq, first_conn_id=first_conn_id)
