"""A browser without a window, driven over the DevTools protocol: a page as its readers have it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.e2e.patience import PATIENCE_S, until

#: The names that distributions give it.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(slots=True)
class Page:
    """One tab. ``requests`` are the URLs it asked for, ``complaints`` what it had to say: errors, and what a policy blocked."""

    connection: ClientConnection
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _sent: int = 0

    def call(self, method: str, **parameters: object) -> Any:
        """A command of the protocol, and its result; events on the way are kept."""
        self._sent += 1
        self.connection.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.connection.recv(PATIENCE_S))
            if message.get("id") == self._sent:
                assert "error" not in message, message
                return message["result"]
            self._keep(message)

    def evaluate(self, script: str) -> Any:
        """What the expression is on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def await_true(self, script: str) -> None:
        """Returns once the expression holds on the page."""
        until(lambda: bool(self.evaluate(f"Boolean({script})")), f"the page has {script}")

    def reload(self, script: str = "location.reload()") -> None:
        """Runs a script that loads the page again, and returns once it has: nothing can be asked of a page that goes."""
        self.evaluate(script)
        while True:
            event = json.loads(self.connection.recv(PATIENCE_S))
            self._keep(event)
            if event.get("method") == "Page.loadEventFired":
                return

    def _keep(self, event: Any) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.complaints.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["exceptionDetails"]))
            case "Audits.issueAdded" if told["issue"]["code"] == "ContentSecurityPolicyIssue":
                self.complaints.append(json.dumps(told["issue"]))
            case _:
                pass


@contextmanager
def page_of(url: str, directory: Path) -> Iterator[Page]:
    """The page at that address, while it loads and after; ``directory`` is the browser's own."""
    if CHROMIUM is None:
        raise FileNotFoundError("there is no chromium")
    process = subprocess.Popen(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",  # it runs as root in containers, where it would refuse to
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-port=0",
            f"--user-data-dir={directory}",
            "about:blank",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = directory / "DevToolsActivePort"
        until(lambda: told.exists() and told.read_text().count("\n") >= 1, "the browser listens")
        port, path = told.read_text().split("\n")[:2]
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as browser:
            tab = Page(browser).call("Target.createTarget", url="about:blank")["targetId"]
            with connect(f"ws://127.0.0.1:{port}/devtools/page/{tab}", max_size=None, proxy=None) as connection:
                page = Page(connection)
                for domain in ("Network", "Log", "Runtime", "Page", "Audits"):
                    page.call(f"{domain}.enable")
                page.call("Page.navigate", url=url)
                yield page
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
