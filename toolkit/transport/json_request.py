"""One HTTP question to a server of ours, and its JSON answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import aiohttp
import msgspec

from toolkit.errors import ConnectFailed, TransportError
from toolkit.transport.failures import one_line
from toolkit.transport.urls import REST_SCHEMES, check_url, public_url

__all__ = ["ask_json"]

#: A status names each client in a line; this is some hundred thousand of them.
_ANSWER_BYTES_MAX: Final = 16 << 20
_QUOTED_MAX: Final = 200


async def ask_json(method: str, url: str, body: bytes = b"", *, timeout_s: float) -> tuple[int, Any]:
    """
    The HTTP status and the decoded body.

    Raises:
        ConfigError: The URL is none.
        ConnectFailed: Nothing listens there.
        TransportError: No answer came, or none that is JSON.
    """
    check_url(url, REST_SCHEMES)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    headers = {"Content-Type": "application/json", "User-Agent": "tickdeck"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, data=body or None, headers=headers, allow_redirects=False) as response,
        ):
            answer = bytearray()
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > _ANSWER_BYTES_MAX:
                    raise TransportError(
                        f"{public_url(url)} answers with more than {_ANSWER_BYTES_MAX:,} bytes: refused"
                    )
            status = response.status
    except aiohttp.ClientConnectorError as exc:
        raise ConnectFailed(f"nothing answers at {public_url(url)}: {one_line(exc, url)}") from None
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise TransportError(f"no answer from {public_url(url)}: {one_line(exc, url)}") from None
    if status == HTTPStatus.FORBIDDEN:
        why = answer[:_QUOTED_MAX].decode(errors="replace").strip()
        raise TransportError(f"{public_url(url)} refuses to be asked (HTTP 403): {why}")
    try:
        return status, msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TransportError(
            f"{public_url(url)} answered HTTP {status}, and no JSON: is it a `tickdeck serve`?"
        ) from None
