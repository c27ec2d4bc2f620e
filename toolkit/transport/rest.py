"""REST requests to a venue: within its limits, tried again where that may help, every answer shown to who asked."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from toolkit.clock import Clock
from toolkit.errors import ConnectFailed, RequestFailed, TransportError
from toolkit.transport.backoff import Backoff
from toolkit.transport.failures import (
    TOO_MUCH,
    UNTIMED_BAN_S,
    RetryAfter,
    asked_pause_s,
    connect_error,
    one_line,
)
from toolkit.transport.limits import RateLimit
from toolkit.transport.security import tls_context
from toolkit.transport.socks import socks_connector
from toolkit.transport.urls import REST_SCHEMES, check_url, is_socks, join_url, proxy_for, public_url, without_secrets

__all__ = ["REST_TIMEOUT_S", "RETRY_AFTER_S_MAX", "RestClient", "RestResponse"]

#: A request is not kept for longer than this: it fails, and the code that needs its answer asks again. The venue is
#: left alone for as long as it said all the same.
RETRY_AFTER_S_MAX: Final = 300.0
#: Unless it is said otherwise: longest time of one attempt of a request.
REST_TIMEOUT_S: Final = 20.0
#: What may stand in a request target as it is (RFC 3986): reserved and unreserved characters, and what is encoded.
_TARGET_SAFE: Final = "/?#[]@!$&'()*+,;=:%-._~"


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
        return self.status in TOO_MUCH or self.status >= 500


class RestClient:
    """
    One venue's REST interface. An `async with` opens the session and closes it. Raises ConfigError for a bad URL.

    Args:
        base_url: URL that paths are appended to. Characters outside of ASCII in either are percent-encoded as UTF-8
            (RFC 3986, 2.5).
        clock: Clock that measures pauses.
        limit: Weight of requests in a minute; requests wait for room in it, in order.
        ban_s_max: The venue is left alone for no longer than this, whatever it asks for.
        also_held: Further limiters that are held while the venue wants to be left alone: of all that goes to the same
            address.
        backoff: Factory of the delays between attempts, called for every request.
        tls: TLS settings for https URLs; the system's authorities, if None.
        timeout_s: Longest time of one attempt, from the connecting to the body's last byte.
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
        ban_s_max: float = 3600.0,
        also_held: Sequence[RateLimit] = (),
        tls: ssl.SSLContext | None = None,
        timeout_s: float = REST_TIMEOUT_S,
        attempts_max: int = 4,
        body_bytes_max: int = 64 * 1024 * 1024,
    ) -> None:
        self.base_url = check_url(base_url, REST_SCHEMES)
        self.host = urlsplit(base_url).hostname or ""
        self._clock = clock
        self._limit = limit
        self._backoff = backoff
        self._ban_s_max = ban_s_max
        self._held = (limit, *also_held)
        #: Of refusals without a time, over all requests: each makes the silence that follows longer.
        self._refusals = backoff()
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
        """
        Make the session; nothing is connected yet.

        Raises ConfigError for a broken CA file, or a proxy of the environment that cannot be used.
        """
        tls, proxy = self._tls or tls_context(), proxy_for(self.base_url)
        self._session = aiohttp.ClientSession(
            connector=socks_connector(proxy, self.base_url, tls)
            if proxy is not None and is_socks(proxy)
            else aiohttp.TCPConnector(ssl=tls),
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
        on_retry_after: Callable[[RetryAfter], None] = lambda asked: None,
    ) -> RestResponse:
        """
        Ask until there is an answer of success, and return that.

        A network error, a status of 429 or from 500 on is tried again, after the pause that the venue asked for or
        one of our own; not if the request may not be repeated (`is_idempotent`), and at most `attempts_max` times
        unless `is_patient`. `on_attempt(n)` runs right before attempt n (from 1) leaves, `on_response` for every
        answer of whatever status, `on_error` for every attempt that got none, `on_retry_after` when the venue wants to be left
        alone, which holds back every request of this client.

        Raises ConnectFailed or RequestFailed with what the last attempt found, and what the callbacks raise. Safe
        to cancel.
        """
        if self._session is None:
            raise RequestFailed(f"{method} {self._shown(path)}: the session is not open; ask before it is closed")
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
                    self._refusals = self._backoff()
                    return response
                error, may_change = self._refusal(method, path, response), response.may_change
                pause_s = self._leave_alone(response, on_retry_after)
                error.retry_after_s = pause_s
            is_last = not is_idempotent or (attempt >= self._attempts_max and not is_patient)
            if is_last or not may_change or (pause_s or 0) > RETRY_AFTER_S_MAX:
                text = f"{error}{f' (attempt {attempt})' if attempt > 1 else ''}"
                raise type(error)(text, retry_after_s=error.retry_after_s) from error
            if pause_s is None:
                await self._clock.sleep(backoff.next_s())

    @property
    def held_s(self) -> float:
        """For how much longer the venue is left alone, seconds."""
        return self._limit.held_s

    def _leave_alone(self, response: RestResponse, on_retry_after: Callable[[RetryAfter], None]) -> float | None:
        """
        Hold back every request if this answer says that there were too many; for how long, or None if it does not.

        The whole address has to wait, not this one request.
        """
        asked_s = response.retry_after_s
        if asked_s is None:
            if response.status not in TOO_MUCH:
                return None
            pause_s = max(self._refusals.refused_s(), UNTIMED_BAN_S if response.status == 418 else 0.0)
        else:
            # Never less than our own pause: "0" would have us ask without end.
            pause_s = max(self._refusals.refused_s(), min(asked_s, self._ban_s_max))
        for limit in self._held:
            limit.hold(pause_s)
        on_retry_after(RetryAfter(self.host, response.status, asked_s, pause_s))
        return pause_s

    async def _fetch(self, method: str, path: str, body: bytes) -> RestResponse:
        """One attempt. Raises ConnectFailed, RequestFailed."""
        url = join_url(self.base_url, path)
        shown = f"{method} {self._shown(path)}"
        proxy = proxy_for(url)
        if self._session is None:
            raise RequestFailed(f"{shown}: the session was closed meanwhile")
        try:
            async with self._session.request(
                method,
                URL(quote(url, safe=_TARGET_SAFE), encoded=True),
                data=body or None,
                headers={"Content-Type": "application/json"} if body else None,
                allow_redirects=False,
                proxy=None if is_socks(proxy) else proxy,
            ) as response:
                content = await self._read(response, shown)
                asked_s = asked_pause_s(response.status, response.headers, content)
                return RestResponse(response.status, content, asked_s)
        except aiohttp.ClientConnectorCertificateError as exc:
            cause = exc.certificate_error
            raise ConnectFailed(
                connect_error(url, cause) if isinstance(cause, OSError) else one_line(exc, url)
            ) from exc
        except aiohttp.ClientProxyConnectionError as exc:
            raise ConnectFailed(f"{shown}: the proxy cannot be reached ({one_line(exc.os_error)}); check it") from exc
        except aiohttp.ClientHttpProxyError as exc:
            raise ConnectFailed(f"{shown}: the proxy refused ({exc.status} {exc.message}); check it") from exc
        except aiohttp.ClientConnectorError as exc:
            raise ConnectFailed(connect_error(url, exc.os_error)) from exc
        except TimeoutError as exc:
            raise RequestFailed(f"{shown}: no answer within {self._timeout_s:g} s; check the network") from exc
        except aiohttp.InvalidURL as exc:
            raise RequestFailed(f"{shown}: not a URL; check the option") from exc
        except aiohttp.ClientError as exc:
            raise RequestFailed(f"{shown}: the answer broke off ({one_line(exc, url)})") from exc

    async def _read(self, response: aiohttp.ClientResponse, what: str) -> bytes:
        # Counted after decoding, so that a small body cannot unpack into a large one.
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > self._body_bytes_max:
                raise RequestFailed(f"{what}: the body is longer than {self._body_bytes_max:,} bytes; refused")
        return bytes(content)

    def _shown(self, path: str) -> str:
        """What people may see of a request's URL: the protocol's own part of it has no secrets."""
        return join_url(public_url(self.base_url), path)

    def _refusal(self, method: str, path: str, response: RestResponse) -> RequestFailed:
        start = without_secrets(" ".join(response.body[:120].decode("utf-8", "replace").split()), self.base_url)
        return RequestFailed(
            f"{method} {self._shown(path)}: HTTP {response.status}, expected 200; the body says {start!r}"
        )
