"""A headless Chromium, driven over a pipe by its DevTools protocol."""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time

PROGRAM = next(
    (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
)
SECONDS = 60


class Page:
    """One page, opened from a file at a width of so many CSS pixels.

    What its console says is kept.
    """

    def __init__(self, folder, file, width, height=900, dark=False):
        self.messages = []
        self._numbers = itertools.count(1)
        self._buffer = b""
        command = [
            PROGRAM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            "--no-first-run",
        ]
        command += ["--disable-dev-shm-usage", f"--user-data-dir={folder}", "about:blank"]
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        # Chromium reads its file 3 and writes its file 4: bash moves these there, from where
        # neither is in the other's way.
        moved = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs, answers)]
        shell = ["bash", "-c", f'exec "$@" 3<&{moved[0]} 4>&{moved[1]}', "bash", *command]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(shell, pass_fds=moved, **quiet)
        for end in (theirs, answers, *moved):
            os.close(end)
        self._session = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Page.navigate", url=file.resolve().as_uri())
        while self.evaluate("document.readyState") != "complete":
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def evaluate(self, expression):
        """The value of an expression of JavaScript; a promise is waited for."""
        found = self._ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, file, whole=True):
        """A PNG, of the whole page or of what is in sight."""
        data = self._ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))

    def errors(self):
        """What went wrong: exceptions, errors and warnings on the console.

        And anything asked for over a network.
        """
        found = []
        for name, about in self.messages:
            if name == "Runtime.exceptionThrown":
                found.append(about["exceptionDetails"]["text"])
            elif name == "Runtime.consoleAPICalled" and about["type"] in (
                "error",
                "warning",
                "assert",
            ):
                found.append(str(about["args"]))
            elif name == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
                found.append(about["entry"]["text"])
            elif name == "Network.requestWillBeSent" and not about["request"]["url"].startswith(
                ("file:", "data:")
            ):
                found.append(f"asked for {about['request']['url']}")
        return found

    def _ask(self, method, **parameters):
        """Send a command and wait for its answer; events that come before it are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            if "method" in answer:
                self.messages.append((answer["method"], answer["params"]))
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        """The next message."""
        while b"\0" not in self._buffer:
            assert select.select([self._in], [], [], SECONDS)[0], "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
