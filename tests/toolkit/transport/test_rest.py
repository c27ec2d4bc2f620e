"""REST requests, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from tests.deadlines import HANG_S
from tests.toolkit.live_harness import advance_until, in_loop, rest_venue, tcp_venue, unused_port
from toolkit.clock import NS_PER_S, Clock, ManualClock, SystemClock
from toolkit.errors import ConfigError, ConnectFailed, RequestFailed, TransportError
from toolkit.transport.backoff import Backoff
from toolkit.transport.failures import RetryAfter, retry_after_s
from toolkit.transport.limits import RateLimit
from toolkit.transport.rest import RestClient, RestResponse
from toolkit.transport.security import tls_context
from toolkit.transport.urls import proxy_for

Answer = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]


def client(url: str, clock: Clock | None = None, *, weight: float = 1000, **options: Any) -> RestClient:
    clock = clock or SystemClock()
    options = {"backoff": lambda: Backoff(1, base_s=0.01, max_s=0.02), **options}
    return RestClient(url, clock=clock, limit=RateLimit(clock, weight, 60.0), **options)


@dataclass
class Log:
    """What the callbacks of a request were told."""

    attempts: list[int] = field(default_factory=list)
    responses: list[tuple[int, int, bytes]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def options(self) -> dict[str, Any]:
        return {"on_attempt": self.attempts.append, "on_response": self.on_response, "on_error": self.on_error}

    def on_response(self, attempt: int, response: RestResponse) -> None:
        self.responses.append((attempt, response.status, response.body))

    def on_error(self, attempt: int, error: TransportError) -> None:
        self.errors.append(f"{attempt} {type(error).__name__}")


def answering(*answers: Answer) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """A handler that gives these answers in order, the last one for ever."""
    left = list(answers)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        status, body, *headers = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, body=body, headers=headers[0] if headers else {})

    return handler


@in_loop
async def test_request_and_response_are_exact() -> None:
    """Path and query as the protocol wrote them, the body byte by byte in both directions."""
    got: list[Any] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        got.append((request.method, request.raw_path, await request.read(), request.headers.get("Content-Type")))
        return web.Response(body=b'{"a": "\xff"}\n')

    async with rest_venue(handler) as url, client(url + "/base/") as rest:
        answer = await rest.request("POST", "/info", b'{"type":"meta"}')
        await rest.request("GET", "/x?symbols=%5B%22A%22%5D&b=1+2")
        await rest.request("GET", "")
    assert (answer.status, answer.body) == (200, b'{"a": "\xff"}\n')
    assert got == [
        ("POST", "/base/info", b'{"type":"meta"}', "application/json"),
        ("GET", "/base/x?symbols=%5B%22A%22%5D&b=1+2", b"", None),
        ("GET", "/base/", b"", None),
    ]


@in_loop
async def test_a_compressed_body_arrives_unpacked() -> None:
    """Venues compress their instrument lists."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(body=b"x" * 10_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with rest_venue(handler) as url, client(url) as rest:
        assert (await rest.request("GET", "/")).body == b"x" * 10_000


@in_loop
async def test_a_429_is_waited_out() -> None:
    """As long as the venue says, and every answer is shown to who records."""
    clock, log = ManualClock(), Log()
    handler = answering((429, b"slow down", {"Retry-After": "7"}), (200, b"ok"))
    async with rest_venue(handler) as url, client(url, clock) as rest, asyncio.TaskGroup() as group:
        request = group.create_task(rest.request("POST", "/", b"{}", **log.options()))
        await advance_until(clock, request.done)
    assert request.result().body == b"ok"
    assert log.attempts == [1, 2]
    assert log.responses == [(1, 429, b"slow down"), (2, 200, b"ok")]
    assert clock.monotonic_ns() >= 7 * NS_PER_S


@in_loop
async def test_a_429_holds_every_request() -> None:
    """It is the address that has asked too much."""
    clock = ManualClock()
    asked_at: list[int] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked_at.append(clock.monotonic_ns())
        if len(asked_at) == 1:
            return web.Response(status=429, headers={"Retry-After": "5"})
        return web.Response()

    async with rest_venue(handler) as url, client(url, clock) as rest, asyncio.TaskGroup() as group:
        first = group.create_task(rest.request("GET", "/"))
        await advance_until(clock, lambda: len(asked_at) == 1 and bool(clock._sleepers))
        second = group.create_task(rest.request("GET", "/"))
        await advance_until(clock, lambda: first.done() and second.done())
    assert all(at >= asked_at[0] + 4 * NS_PER_S for at in asked_at[1:])


@pytest.mark.parametrize("status", [500, 502, 503])
@in_loop
async def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    """Up to the limit, then it is one clear line."""
    log = Log()
    async with rest_venue(answering((status, b"null"))) as url, client(url, attempts_max=3) as rest:
        with pytest.raises(RequestFailed) as failure:
            await rest.request("POST", "/info", b"{}", **log.options())
    assert str(failure.value) == (f"POST {url}/info: HTTP {status}, expected 200; the body says 'null' (attempt 3)")
    assert log.responses == [(n, status, b"null") for n in (1, 2, 3)]


@pytest.mark.parametrize("status", [301, 400, 404, 405, 415, 422])
@in_loop
async def test_a_status_that_stays_is_not_tried_again(status: int) -> None:
    """The same request would get the same answer; a redirect leads away from the venue that was asked for."""
    log = Log()
    handler = answering((status, b"no\nsuch thing", {"Location": "http://elsewhere.invalid/"}))
    async with rest_venue(handler) as url, client(url) as rest:
        with pytest.raises(
            RequestFailed, match=rf"^GET .*: HTTP {status}, expected 200; the body says 'no such thing'$"
        ):
            await rest.request("GET", "/", **log.options())
    assert log.attempts == [1]


@in_loop
async def test_what_may_not_be_repeated_is_not() -> None:
    """Not after an error status, not after a broken connection."""
    log = Log()
    async with rest_venue(answering((500, b"null"))) as url, client(url) as rest:
        with pytest.raises(RequestFailed):
            await rest.request("POST", "/", b"{}", is_idempotent=False, **log.options())
    assert log.attempts == [1]


@in_loop
async def test_a_pause_that_is_too_long_is_not_waited_for() -> None:
    """A ban of a day is said now, not tomorrow."""
    async with rest_venue(answering((418, b"banned", {"Retry-After": "86400"}))) as url, client(url) as rest:
        with pytest.raises(RequestFailed, match=r"HTTP 418, expected 200; the body says 'banned'$"):
            await rest.request("GET", "/")


@in_loop
async def test_a_port_that_nobody_listens_on_is_one_clear_line() -> None:
    """After the attempts that it deserves."""
    log = Log()
    async with unused_port() as port, client(f"http://127.0.0.1:{port}", attempts_max=2) as rest:
        with pytest.raises(ConnectFailed) as failure:
            await rest.request("GET", "/meta", **log.options())
    assert str(failure.value) == (
        f"http://127.0.0.1:{port}/meta: connection refused, nothing listens there; check the address, or start the "
        "venue (attempt 2)"
    )
    assert log.errors == ["1 ConnectFailed", "2 ConnectFailed"]


@in_loop
async def test_a_patient_request_outlasts_the_limit() -> None:
    """A recorder started before its venue."""
    handler = answering(*[(503, b"")] * 9, (200, b"ok"))
    async with rest_venue(handler) as url, client(url, attempts_max=2) as rest:
        assert (await rest.request("GET", "/", is_patient=True)).body == b"ok"


BROKEN = {
    "nothing": b"",
    "half a header": b"HTTP/1.1 200 O",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc",
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
@in_loop
async def test_an_answer_that_breaks_off_is_an_error(answer: bytes) -> None:
    """Half a body is no body."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with tcp_venue(handler) as port, client(f"http://127.0.0.1:{port}", attempts_max=2) as rest:
        with pytest.raises(RequestFailed, match=r": the answer broke off \(.*\) \(attempt 2\)$") as failure:
            await rest.request("POST", "/info", b"{}")
    assert "\n" not in str(failure.value)


@in_loop
async def test_an_answer_that_never_comes_times_out() -> None:
    """Half-open silence, and a body that drips."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp_venue(handler) as port, client(f"http://127.0.0.1:{port}", attempts_max=1, timeout_s=0.1) as rest:
        with pytest.raises(RequestFailed, match=r": no answer within 0\.1 s; check the network$"):
            await rest.request("GET", "/")


@in_loop
async def test_a_body_over_the_limit_is_refused() -> None:
    """Counted after unpacking."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(body=b"0" * 1_000_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with rest_venue(handler) as url, client(url, attempts_max=1, body_bytes_max=10_000) as rest:
        with pytest.raises(RequestFailed, match=r": the body is longer than 10,000 bytes; refused$"):
            await rest.request("GET", "/")


@in_loop
async def test_requests_keep_below_the_weight_limit() -> None:
    """The third has to wait for the next window."""
    clock = ManualClock()
    asked_at: list[int] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked_at.append(clock.monotonic_ns())
        return web.Response()

    async with rest_venue(handler) as url, client(url, clock, weight=40) as rest, asyncio.TaskGroup() as group:
        tasks = [group.create_task(rest.request("GET", "/", weight=20)) for _ in range(3)]
        await advance_until(clock, lambda: len(asked_at) >= 2 and bool(clock._sleepers), 0.001)
        await advance_until(clock, lambda: all(task.done() for task in tasks))
    assert asked_at[2] >= 60 * NS_PER_S


@in_loop
async def test_a_closed_client_says_so() -> None:
    """A snapshot asked for after the session's end."""
    rest = client("http://127.0.0.1:9")
    await rest.close()
    with pytest.raises(
        RequestFailed, match=r"^GET http://127\.0\.0\.1:9/: the session is not open; ask before it is closed$"
    ):
        await rest.request("GET", "/")


@pytest.mark.parametrize("url", ["nonsense", "ws://127.0.0.1:1", "http://:80", "http://host:port", "http://[::1", ""])
def test_what_is_no_url_is_one_clear_line(url: str) -> None:
    """A mistyped option is found before anything is tried."""
    with pytest.raises(ConfigError) as failure:
        client(url)
    assert str(failure.value) == (
        f"{url!r} is no URL of that kind, expected http or https://host[:port][/path]; check the option"
    )


def test_a_proxy_is_never_put_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded venue is reached on machines behind a company's proxy too."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for("https://venue.example/x") == "http://proxy.invalid:3128"
    for url in (
        "http://127.0.0.1:80",
        "http://[::1]/",
        "https://localhost",
        "http://a.localhost",
        "http://inside.example",
    ):
        assert proxy_for(url) is None


@in_loop
async def test_a_cancelled_request_leaves_nothing(tmp_path: Path) -> None:
    """No socket, no task: the harness and the warnings hold it."""
    asked = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    async with tcp_venue(handler) as port, client(f"http://127.0.0.1:{port}") as rest:
        async with asyncio.TaskGroup() as group:
            request = group.create_task(rest.request("GET", "/"))
            await asked.wait()
            request.cancel()
        assert request.cancelled()


@in_loop
async def test_an_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    """And trusted once its authority is named."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with rest_venue(answering((200, b"ok")), ssl_context=context) as url:
        async with client(url, attempts_max=1) as rest:
            with pytest.raises(ConnectFailed, match=r"/: its TLS certificate is not trusted \(.*\); check the URL"):
                await rest.request("GET", "/")
        async with client(url, tls=tls_context(tmp_path / "ca.pem")) as rest:
            assert (await rest.request("GET", "/")).body == b"ok"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "³"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    """Nonsense is as good as none; a date is read against the server's own clock."""
    assert retry_after_s(headers) == seconds


# -- left alone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "body", "waits_s"),
    [
        (429, {"Retry-After": "86400"}, b"", 86_400),
        (418, {"Retry-After": "259200"}, b"", 259_200),
        (418, {"Retry-After": "999999999999"}, b"", 300_000),
        (429, {"Retry-After": "9" * 400}, b"", 300_000),
        (418, {"Date": "Wed, 15 Nov 2023 06:13:20 GMT"}, b'{"msg":"IP banned until 1700036000000."}', 7_200),
        (418, {}, b"", 120),
        (503, {"Retry-After": "40"}, b"", 40),
    ],
)
@in_loop
async def test_a_venue_is_left_alone_for_as_long_as_it_says(
    status: int, headers: dict[str, str], body: bytes, waits_s: float
) -> None:
    """By all requests; up to the longest ban that is documented, and it is told for how long."""
    clock = ManualClock()
    told: list[RetryAfter] = []
    handler = answering((status, body, headers), (200, b"ok"))
    async with rest_venue(handler) as url, client(url, clock, ban_s_max=300_000.0) as rest:
        with contextlib.suppress(RequestFailed):
            await asyncio.wait_for(rest.request("GET", "/", is_idempotent=False, on_retry_after=told.append), HANG_S)
        assert rest.held_s == waits_s
        assert [(one.host, one.status, one.waits_s) for one in told] == [("127.0.0.1", status, waits_s)]
        async with asyncio.TaskGroup() as group:
            second = group.create_task(rest.request("GET", "/"))
            await advance_until(clock, second.done, waits_s / 10)
    assert clock.monotonic_ns() >= waits_s * NS_PER_S


@in_loop
async def test_refusals_without_a_time_are_answered_with_growing_silences() -> None:
    """Of all requests together: each new one must not begin with a short pause again."""
    clock = ManualClock()
    asked_at: list[int] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked_at.append(clock.monotonic_ns())
        return web.Response(status=429)

    async def ask_on(rest: RestClient) -> None:
        for _ in range(8):
            with contextlib.suppress(RequestFailed):
                await rest.request("GET", "/", is_idempotent=False)

    options: dict[str, Any] = {"backoff": lambda: Backoff(1, base_s=1, max_s=300)}
    async with rest_venue(handler) as url, client(url, clock, **options) as rest, asyncio.TaskGroup() as group:
        asking = group.create_task(ask_on(rest))
        await advance_until(clock, asking.done, 0.1)
    pauses = [after - before for before, after in pairwise(asked_at)]
    assert sum(pauses[-3:]) > 4 * sum(pauses[:3])


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/x?symbol=币安人生USDT", "/x?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"),
        ("/x?symbol=%E5%B8%81&b=1+2", "/x?symbol=%E5%B8%81&b=1+2"),
        ("/orderbook/A B\r\nX: y", "/orderbook/A%20B%0D%0AX:%20y"),
        ("/é/ü?q=ß", "/%C3%A9/%C3%BC?q=%C3%9F"),
    ],
)
@in_loop
async def test_a_request_target_is_ascii(path: str, target: str) -> None:
    """RFC 9112: a server may refuse any other byte, and a line break would be a header of somebody's choice."""
    got: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        got.append(request.raw_path)
        return web.Response()

    async with rest_venue(handler) as url, client(url) as rest:
        await rest.request("GET", path)
    assert got == [target]


# -- secrets -----------------------------------------------------------------------------------------------------


@in_loop
async def test_the_secrets_of_a_url_are_used_and_not_said() -> None:
    """User and password authenticate, the token of the base goes with every request, and errors show neither."""
    got: list[tuple[str, str | None]] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        got.append((request.raw_path, request.headers.get("Authorization")))
        return web.Response(status=404)

    async with rest_venue(handler) as url:
        base = url.replace("http://", "http://joe:hunter22@") + "/v1?token=t0pSecret"
        async with client(base) as rest:
            with pytest.raises(RequestFailed) as failure:
                await rest.request("GET", "/depth?symbol=X")
    assert got == [("/v1/depth?symbol=X&token=t0pSecret", "Basic am9lOmh1bnRlcjIy")]
    said = str(failure.value)
    assert said.startswith(f"GET {url.replace('http://', 'http://***@')}/v1/depth?symbol=X&token=***: HTTP 404")
    assert "hunter22" not in said
    assert "t0pSecret" not in said
