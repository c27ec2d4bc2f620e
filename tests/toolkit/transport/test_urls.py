"""URLs: what of them nobody may see, and which proxy the environment puts between."""

from __future__ import annotations

import pytest

from toolkit.errors import ConfigError
from toolkit.transport.urls import check_url, is_same_host, join_url, proxy_for, public_url, without_secrets

SECRETS = [
    ("wss://joe:pa55word@venue.test/ws", "wss://***@venue.test/ws"),
    ("https://tok3nvalue@venue.test", "https://***@venue.test"),
    ("wss://venue.test/ws?token=abcdef&v=1", "wss://venue.test/ws?token=***&v=***"),
    ("wss://venue.test/ws?abcdef", "wss://venue.test/ws?***"),
    ("https://node.test/v3/0123456789abcdef0123456789abcdef/rpc", "https://node.test/v3/***/rpc"),
    ("https://venue.test/api/v3#frag", "https://venue.test/api/v3"),
    ("wss://stream.binance.com:9443/stream", "wss://stream.binance.com:9443/stream"),
    (
        "https://indexer.dydx.trade/v4/orderbooks/perpetualMarket",
        "https://indexer.dydx.trade/v4/orderbooks/perpetualMarket",
    ),
    ("ws://[::1]:80/ws", "ws://[::1]:80/ws"),
    ("https://joe:secret@[broken", "https://***@[broken"),
]


@pytest.mark.parametrize(("url", "expected"), SECRETS)
def test_a_url_is_shown_without_its_secrets(url: str, expected: str) -> None:
    """User, password, token and key; host, port and path stay, which is what one looks for in an error."""
    assert public_url(url) == expected


def test_an_error_of_a_library_is_shown_without_the_secrets_of_its_url() -> None:
    """Whole, in parts, decoded: they print it as they like."""
    url = "wss://joe:pa55%3Aword@venue.test/ws?token=t0pSecret"
    for text in (f"{url} isn't a valid URI", "bad credentials 'pa55:word'", "joe:pa55%3Aword", "token t0pSecret"):
        said = without_secrets(text, url)
        for secret in ("pa55%3Aword", "pa55:word", "t0pSecret"):
            assert secret not in said
    assert without_secrets("cannot reach http://a:b@proxy.test:80 now") == "cannot reach http://***@proxy.test:80 now"


def test_an_option_that_is_no_url_is_refused_without_its_secrets() -> None:
    """The line goes to a log."""
    with pytest.raises(ConfigError) as failure:
        check_url("ftp://joe:pa55word@venue.test", ("ws", "wss"))
    assert "pa55word" not in str(failure.value)


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("https://h/api/", "/x?a=1", "https://h/api/x?a=1"),
        ("https://h/api?token=t", "x?a=1", "https://h/api/x?a=1&token=t"),
        ("wss://h?token=t", "/stream", "wss://h/stream?token=t"),
        ("wss://h/ws", "", "wss://h/ws"),
    ],
)
def test_a_path_is_put_before_the_query_of_its_base(base: str, path: str, expected: str) -> None:
    assert join_url(base, path) == expected


def test_the_default_port_is_the_same_host() -> None:
    """One ban counts for both; another port may be another venue (a simulator's, say)."""
    assert is_same_host("wss://api.venue.test/ws", "https://api.venue.test:443")
    assert not is_same_host("wss://stream.venue.test/ws", "https://api.venue.test")
    assert not is_same_host("ws://127.0.0.1:1", "http://127.0.0.1:2")


@pytest.fixture
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "ws", "wss", "all", "socks", "no"):
        for variable in (f"{name}_proxy", f"{name}_proxy".upper()):
            monkeypatch.delenv(variable, raising=False)


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({"ALL_PROXY": "http://p.test:1"}, "wss://venue.test", "http://p.test:1"),
        ({"all_proxy": "p.test:1"}, "https://venue.test", "http://p.test:1"),
        ({"https_proxy": "http://p.test:1", "all_proxy": "http://q.test:1"}, "wss://venue.test", "http://p.test:1"),
        ({"http_proxy": "http://p.test:1"}, "wss://venue.test", None),
        ({"http_proxy": "http://p.test:1"}, "ws://venue.test", "http://p.test:1"),
        ({"wss_proxy": "http://w.test:1", "https_proxy": "http://p.test:1"}, "wss://venue.test", "http://w.test:1"),
        ({"all_proxy": "http://p.test:1", "no_proxy": "venue.test"}, "wss://venue.test", None),
        ({"all_proxy": "socks5://p.test:1"}, "ws://localhost:1", None),
        ({}, "wss://venue.test", None),
    ],
)
def test_both_transports_take_the_same_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, expected: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == expected


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize("name", ["socks_proxy", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", ["socks://joe:pa55word@p.test:1", "socks5h://p.test", "gopher://p.test", "http://"])
def test_a_proxy_that_cannot_be_used_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, name: str, proxy: str) -> None:
    """Never around it, and no word of its password."""
    monkeypatch.setenv(name, proxy)
    for url in ("wss://venue.test", "https://venue.test"):
        with pytest.raises(
            ConfigError, match=rf"^{name.lower()} in the environment is .*expected http://host:port"
        ) as e:
            proxy_for(url)
        assert "pa55word" not in str(e.value)
