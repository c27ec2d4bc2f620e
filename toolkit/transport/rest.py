"""REST requests to a venue: within its limits, tried again where that may help, every answer shown to who asked."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from toolkit.clock import Clock
from toolkit.errors import ConnectFailed, RequestFailed, TransportError
from toolkit.transport.backoff import Backoff
from toolkit.transport.failures import connect_error, one_line, retry_after_s
from toolkit.transport.limits import RateLimit
from toolkit.transport.security import tls_context
from toolkit.transport.urls import REST_SCHEMES, check_url, proxy_for

__all__ = ["RestClient", "RestResponse"]

#: Statuses that say "too much": 429 everywhere, 418 where a venue has banned the address for not minding its 429s.
_TOO_MUCH: Final = frozenset({418, 429})
#: A venue that asks for a longer pause than this is not waited for.
RETRY_AFTER_S_MAX = 300.0


@dataclass(frozen=True, slots=True)
class RestResponse:
    """
    What a venue answered.

    Attributes:
        status: HTTP status.
        body: The body, after content decoding, otherwise exactly as it arrived.
        retry_after_s: How long the venue asks to be left alone; None where it does not.
    """

    status: int
    body: bytes
    retry_after_s: float | None = None

    @property
    def is_ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def may_change(self) -> bool:
        """Whether asking again may give another answer."""
        return self.status in _TOO_MUCH or self.status >= 500


class RestClient:
    """
    One venue's REST interface. An `async with` opens the session and closes it. Raises ConfigError for a bad URL.

    Args:
        base_url: What paths are appended to.
        clock: What pauses are measured on.
        limit: Weight of requests in a minute; requests wait for room in it, in order.
        backoff: Makes the delays between attempts, anew for every request.
        tls: For https URLs; the system's authorities, if None.
        timeout_s: For one attempt, from the connecting to the body's last byte.
        attempts_max: Attempts of a request that may be repeated.
        body_bytes_max: A longer body is refused.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        limit: RateLimit,
        backoff: Callable[[], Backoff],
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 20.0,
        attempts_max: int = 4,
        body_bytes_max: int = 64 * 1024 * 1024,
    ) -> None:
        self.base_url = check_url(base_url, REST_SCHEMES)
        self._clock = clock
        self._limit = limit
        self._backoff = backoff
        self._tls = tls
        self._timeout_s = timeout_s
        self._attempts_max = attempts_max
        self._body_bytes_max = body_bytes_max
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Make the session; nothing is connected yet. Raises ConfigError for a broken CA file."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls or tls_context()),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "tickdeck"},
        )

    async def close(self) -> None:
        """Close the session; a request in flight fails. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        weight: float = 1,
        is_idempotent: bool = True,
        is_patient: bool = False,
        on_attempt: Callable[[int], None] = lambda attempt: None,
        on_response: Callable[[int, RestResponse], None] = lambda attempt, response: None,
        on_error: Callable[[int, TransportError], None] = lambda attempt, error: None,
    ) -> RestResponse:
        """
        Ask until there is an answer of success, and return that.

        A network error, a status of 429 or from 500 on is tried again, after the pause that the venue asked for or
        one of our own; not if the request may not be repeated (`is_idempotent`), and at most `attempts_max` times
        unless `is_patient`. `on_attempt(n)` runs right before attempt n (from 1) leaves, `on_response` for every
        answer of whatever status, `on_error` for every attempt that got none.

        Raises ConnectFailed or RequestFailed with what the last attempt found, and what the callbacks raise. Safe
        to cancel.
        """
        if self._session is None:
            raise RequestFailed(f"{method} {self._url(path)}: the session is not open; ask before it is closed")
        backoff = self._backoff()
        attempt = 0
        while True:
            await self._limit.take(weight)
            attempt += 1
            on_attempt(attempt)
            pause_s: float | None = None
            try:
                response = await self._fetch(method, path, body)
            except TransportError as exc:
                on_error(attempt, exc)
                error, may_change = exc, True
            else:
                on_response(attempt, response)
                if response.is_ok:
                    return response
                error, may_change = self._refusal(method, path, response), response.may_change
                pause_s = response.retry_after_s
            is_last = not is_idempotent or (attempt >= self._attempts_max and not is_patient)
            if is_last or not may_change or (pause_s or 0) > RETRY_AFTER_S_MAX:
                raise type(error)(f"{error}{f' (attempt {attempt})' if attempt > 1 else ''}") from error
            await self._pause(response_asked_s=pause_s, backoff_s=backoff.next_s())

    async def _pause(self, *, response_asked_s: float | None, backoff_s: float) -> None:
        if response_asked_s is not None:
            # It is the address that was told to wait, not this one request.
            self._limit.hold(response_asked_s)
        else:
            await self._clock.sleep(backoff_s)

    async def _fetch(self, method: str, path: str, body: bytes) -> RestResponse:
        """One attempt. Raises ConnectFailed, RequestFailed."""
        url = self._url(path)
        if self._session is None:
            raise RequestFailed(f"{method} {url}: the session was closed meanwhile")
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),
                data=body or None,
                headers={"Content-Type": "application/json"} if body else None,
                allow_redirects=False,
                proxy=proxy_for(url),
            ) as response:
                content = await self._read(response, f"{method} {url}")
                return RestResponse(response.status, content, retry_after_s(response.headers))
        except aiohttp.ClientConnectorCertificateError as exc:
            cause = exc.certificate_error
            raise ConnectFailed(connect_error(url, cause) if isinstance(cause, OSError) else str(cause)) from exc
        except aiohttp.ClientConnectorError as exc:
            raise ConnectFailed(connect_error(url, exc.os_error)) from exc
        except TimeoutError as exc:
            raise RequestFailed(f"{method} {url}: no answer within {self._timeout_s:g} s; check the network") from exc
        except aiohttp.InvalidURL as exc:
            raise RequestFailed(f"{method} {url}: not a URL; check the option") from exc
        except aiohttp.ClientError as exc:
            raise RequestFailed(f"{method} {url}: the answer broke off ({one_line(exc)})") from exc

    async def _read(self, response: aiohttp.ClientResponse, what: str) -> bytes:
        # Counted after decoding, so that a small body cannot unpack into a large one.
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > self._body_bytes_max:
                raise RequestFailed(f"{what}: the body is longer than {self._body_bytes_max:,} bytes; refused")
        return bytes(content)

    def _url(self, path: str) -> str:
        if not path:
            return self.base_url
        return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"

    def _refusal(self, method: str, path: str, response: RestResponse) -> RequestFailed:
        start = " ".join(response.body[:120].decode("utf-8", "replace").split())
        return RequestFailed(
            f"{method} {self._url(path)}: HTTP {response.status}, expected 200; the body says {start!r}"
        )
