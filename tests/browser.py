"""A real browser, driven by the tests."""

import base64
import contextlib
import itertools
import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any

from support import PATIENCE_S, until

KEY_CODES = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Backspace": 8}
LEFT = ("navigated or closed", "context was destroyed", "find default execution context")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]


class LeftError(Exception):
    """The page that was asked has gone; the next one has not answered yet."""


class Browser:
    """Chromium on the DevTools protocol: JSON messages that end in NUL, over two pipes."""

    def __init__(self, chromium: str, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._events, events = os.pipe()

        def pipes() -> None:
            # Chromium reads 3 and writes 4; move ours away first, lest one overwrite the other.
            read, write = os.dup2(commands, 100), os.dup2(events, 101)
            os.dup2(read, 3), os.dup2(write, 4)

        self._process = subprocess.Popen(
            [chromium, *FLAGS, f"--user-data-dir={profile}"],
            preexec_fn=pipes,
            close_fds=False,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(events)
        self._ids = itertools.count(1)
        self._buffer = b""
        self._context = ""
        self.anew()

    def anew(self) -> None:
        """Leave what is open, with all that it has stored: a page as of a browser just started."""
        if self._context:
            self("Target.disposeBrowserContext", session="", browserContextId=self._context)
        made = self("Target.createBrowserContext", session="")
        self._context = made["browserContextId"]
        where = {"url": "about:blank", "browserContextId": self._context}
        target = self("Target.createTarget", session="", **where)["targetId"]
        attached = self("Target.attachToTarget", session="", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.console: list[str] = []
        self.requests: list[str] = []
        self._downloads: dict[str, dict[str, Any]] = {}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; meanwhile note what the page complains of."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if chosen := self._session if session is None else session:
            message["sessionId"] = chosen
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            self._note(answer.get("method", ""), answer.get("params", {}))
            if answer.get("id") == number:
                if any(said in str(answer.get("error")) for said in LEFT):
                    raise LeftError(answer)
                assert "error" not in answer, answer
                return answer["result"]

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.console.append(json.dumps(told))
        if event == "Runtime.consoleAPICalled" and told["type"] == "error":
            self.console.append(json.dumps(told["args"]))
        if event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        if event in ("Browser.downloadWillBegin", "Browser.downloadProgress"):
            self._downloads.setdefault(told["guid"], {}).update(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._events], [], [], PATIENCE_S)
            assert ready, "chromium hangs"
            more = os.read(self._events, 1 << 16)
            assert more, "chromium ended"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def saved(self, folder: Path, click: str) -> Path:
        """What the page saves into `folder` as that element is clicked, once it is whole.

        Chromium takes a file's name before it writes a byte: that it is there says nothing.
        """
        asked = {"behavior": "allow", "downloadPath": str(folder), "eventsEnabled": True}
        self("Browser.setDownloadBehavior", session="", browserContextId=self._context, **asked)
        before = set(self._downloads)
        self.evaluate(f"document.querySelector({json.dumps(click)}).click()")

        def whole() -> list[str]:
            self.evaluate("true")
            new = (told for guid, told in self._downloads.items() if guid not in before)
            return [at["suggestedFilename"] for at in new if at.get("state") == "completed"]

        return folder / until(whole, lambda: f"saved by {click}: {self._downloads}")[0]

    def open(self, page: Path) -> None:
        self("Page.navigate", url=page.as_uri())
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def reload(self) -> None:
        """Load the page again, with what it has put into localStorage.

        That is put back by hand: about one freshly started Chromium in a hundred loses it.
        """
        stored = self.evaluate("JSON.stringify(localStorage)")
        put_back = f"Object.assign(localStorage, {stored})"
        self("Page.addScriptToEvaluateOnNewDocument", source=put_back)
        self.evaluate("window.gone = false")
        self("Page.reload")
        self.wait_for("window.gone === undefined && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        result = self("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until that is true of the page, be it this one or the one that comes after it."""

        def true() -> Any:
            with contextlib.suppress(LeftError):
                return self.evaluate(expression)

        until(true, lambda: expression)

    def press(self, key: str, **more: Any) -> None:
        code = KEY_CODES.get(key, ord(key[0].upper()))
        typed = {"text": key} if len(key) == 1 else {}
        pressed = {"key": key, "windowsVirtualKeyCode": code, **more}
        self("Input.dispatchKeyEvent", type="keyDown", **pressed, **typed)
        self("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def point_at(self, selector: str, *, click: bool = False) -> None:
        """Move the mouse onto the middle of an element, and press it there."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = f"{found}.getBoundingClientRect()"
        at = {
            name: self.evaluate(f"{box}.{start} + {box}.{size} / 2")
            for name, start, size in (("x", "left", "width"), ("y", "top", "height"))
        }
        self("Input.dispatchMouseEvent", type="mouseMoved", **at)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def look(self, picture: Path, *, width: int, dark: bool = False, print_: bool = False) -> None:
        """A screenshot, to be looked at by a person."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self("Emulation.setEmulatedMedia", media="print" if print_ else "", features=features)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self("Emulation.setDeviceMetricsOverride", **size)
        picture.write_bytes(base64.b64decode(self("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self("Browser.close", session="")
        self._process.wait(PATIENCE_S)
        os.close(self._commands)
        os.close(self._events)
