"""A headless Chromium, spoken to over two pipes in the DevTools protocol: JSON messages, a zero byte after each.

Nothing but the browser is needed. It is given no network: whatever a page requests beside itself is noted.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

PATIENCE_S = 600.0
Message = dict[str, object]


def find_browser_program() -> str | None:
    """The program, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Chromium:
    """The browser's other side; `call` sends a command and waits, events come in between."""

    def __init__(self, input_fd: int, output_fd: int) -> None:
        self._input, self._output = input_fd, output_fd
        self._left = b""
        self._number = 0
        self.events: list[Message] = []

    def call(self, method: str, session: str = "", **parameters: object) -> Message:
        """One command's result."""
        self._number += 1
        number = self._number
        message: Message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._input, json.dumps(message).encode() + b"\0")
        while True:
            got = self._next()
            if got.get("id") == number:
                assert "error" not in got, f"{method}: {got['error']}"
                return got["result"]  # type: ignore[return-value]

    def wait(self, method: str, session: str) -> Message:
        """The next event of this kind; those before it are kept."""
        while True:
            for at, event in enumerate(self.events):
                if event["method"] == method and event.get("sessionId") == session:
                    return self.events.pop(at)["params"]  # type: ignore[return-value]
            self._next()

    def _next(self) -> Message:
        end = monotonic() + PATIENCE_S
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._output], [], [], max(end - monotonic(), 0.0))
            assert ready, "the browser does not answer"
            received = os.read(self._output, 1 << 20)
            assert received, "the browser has ended"
            self._left += received
        text, _, self._left = self._left.partition(b"\0")
        got: Message = json.loads(text)
        if "method" in got:
            self.events.append(got)
        return got


class Page:
    """A tab of so many CSS pixels, with its requests and complaints."""

    def __init__(self, browser: Chromium, width: int, height: int) -> None:
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.target = str(target)
        self.session = str(browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=width < 600
        )

    def call(self, method: str, **parameters: object) -> Message:
        """A command to this tab."""
        return self.browser.call(method, self.session, **parameters)

    def open(self, url: str) -> None:
        """Go to an address and wait until all of it is there."""
        self.call("Page.navigate", url=url)
        self.browser.wait("Page.loadEventFired", self.session)

    def run(self, script: str) -> object:
        """The value of an expression in the page; a promise's when it is kept."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")  # type: ignore[attr-defined]

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = monotonic() + PATIENCE_S
        while not self.run(f"Boolean({script})"):
            assert monotonic() < end, f"never true: {script}"
            sleep(0.05)

    def complaints(self) -> list[str]:
        """What stands in the console, and exceptions."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self._events() if event["method"] in methods]

    def requested_urls(self) -> list[str]:
        """The addresses of all requests, blocked ones too."""
        requests = [event["params"] for event in self._events() if event["method"] == "Network.requestWillBeSent"]
        return [event["request"]["url"] for event in requests]  # type: ignore[index]

    def _events(self) -> list[Message]:
        self.run("1")  # what was under way has arrived
        return [event for event in self.browser.events if event.get("sessionId") == self.session]

    def picture(self, file: Path) -> None:
        """Write what the tab shows, all of it, as a PNG."""
        import base64

        result = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(str(result["data"])))


@contextmanager
def chromium(program: str) -> Iterator[Chromium]:
    """A fresh browser, with a profile that is gone afterwards."""
    (read_input, input_fd), (output_fd, write_output) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # chrome://tracing is one of the pages that are off unless this is set
        (Path(profile) / "Local State").write_text('{"internal_only_uis_enabled": true}')
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
        quiet = (
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--disable-dev-shm-usage",
        )
        # the browser reads descriptor 3 and writes 4
        moved = ("bash", "-c", f'exec 3<&{read_input} 4>&{write_output}; exec "$@"', "bash")
        with subprocess.Popen(
            [*moved, program, *options, *quiet, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(read_input, write_output),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        ) as process:
            os.close(read_input)
            os.close(write_output)
            try:
                browser = Chromium(input_fd, output_fd)
                yield browser
            finally:
                os.close(input_fd)
                os.close(output_fd)
                process.terminate()
