"""A headless browser, driven over its debugging protocol: what a page says, asks for, and does under the pointer."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

#: A browser that says nothing for so long never will.
HANG_S: Final = 90.0
#: Where Debian and others have it.
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CTRL: Final = 2


def browser() -> str | None:
    """The program; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


class Page:
    """
    One tab.

    Attributes:
        complaints: Errors on the console, failures of programs, and what a policy has kept from loading.
        requested: Addresses that it has asked for, its own and those of data that it holds left out.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command; its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=HANG_S))
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                found: dict[str, Any] = message["result"]
                return found
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:2000])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.complaints.append(json.dumps(params["args"])[:2000])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("data:", "blob:")):
                self.requested.append(url)

    def run(self, text: str) -> Any:
        """The value of an expression, once it is there."""
        answer = self.ask("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (text, answer)
        return answer["result"].get("value")

    def until(self, text: str) -> Any:
        """Wait until an expression is true; its value."""
        end = time.monotonic() + HANG_S
        while not (value := self.run(text)):
            assert not self.complaints, self.complaints
            assert time.monotonic() < end, f"{text} is {value!r}"
            time.sleep(0.05)
        return value

    def open(self, path: Path, width: int, height: int, scheme: str) -> None:
        """Open a file in a window of that size, for who prefers that colour scheme."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url=path.absolute().as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def move(self, x: float, y: float) -> None:
        """Move the pointer."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def wheel(self, x: float, y: float, turn: float, *, modifiers: int = 0) -> None:
        """Turn the wheel; below zero is away from oneself."""
        self.ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=turn, modifiers=modifiers)

    def press(self, x: float, y: float, *, clicks: int = 1) -> None:
        """Click."""
        for click in range(1, clicks + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=click)

    def drag(self, x: float, y: float, by: float) -> None:
        """Move what is under the pointer sideways."""
        self.ask("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", buttons=1, clickCount=1)
        for step in range(1, 5):
            self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + by * step / 4, y=y, button="left", buttons=1)
        self.ask("Input.dispatchMouseEvent", type="mouseReleased", x=x + by, y=y, button="left", clickCount=1)

    def screenshot(self) -> bytes:
        """What is in the window, as PNG."""
        return b64decode(self.ask("Page.captureScreenshot", format="png")["data"])


@contextmanager
def opened_browser(folder: Path) -> Iterator[Page]:
    """A browser of its own, with a tab; it is gone afterwards."""
    program = browser()
    assert program is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
    options += ["--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-sync"]
    options += [f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + HANG_S
            said = folder / "DevToolsActivePort"
            while not said.exists() or said.read_text().count("\n") < 1:
                assert process.poll() is None, f"{program} has ended with {process.returncode}"
                assert time.monotonic() < end, f"{program} says no port"
                time.sleep(0.05)
            port, place = said.read_text().splitlines()[:2]
            with connect(f"ws://127.0.0.1:{port}{place}", max_size=None) as root:
                root.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
                targets = json.loads(root.recv(timeout=HANG_S))["result"]["targetInfos"]
            tab = next(each["targetId"] for each in targets if each["type"] == "page")
            with connect(f"ws://127.0.0.1:{port}/devtools/page/{tab}", max_size=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.wait(HANG_S)
