"""Run inside a pod: call a Service without a pause and tell every second how it went.

    python - <url> <body>

Half of the callers keep their connection, half open one for every request. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

CALLERS = 4
PAUSE_S = 0.05


class Callers:
    """Some threads that call, and what they have seen."""

    def __init__(self, url: str, body: str) -> None:
        self._url = urlsplit(url)
        self._body = body.encode()
        self._lock = threading.Lock()
        self.versions: Counter[str] = Counter()
        self.failures: list[str] = []

    def call(self, opened: http.client.HTTPConnection) -> str:
        """Ask for one prediction; return the version that answered, raise OSError if none did."""
        opened.request("POST", self._url.path, self._body, {"content-type": "application/json"})
        reply = opened.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise OSError(f"status {reply.status}: {content[:200]!r}")
        return str(json.loads(content)["model_version"])

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection, opened by its first request."""
        return http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=10)

    def wait_for_the_first_answer(self) -> None:
        """Let the pod's own network come up before anything counts."""
        for _ in range(120):
            try:
                self.call(self.connect())
            except (OSError, http.client.HTTPException):
                time.sleep(0.5)
            else:
                return
        raise SystemExit("error: the Service never answered")

    def go_on(self, *, keep: bool) -> None:
        """Call for ever."""
        opened = self.connect()
        while True:
            try:
                version = self.call(opened)
                with self._lock:
                    self.versions[version] += 1
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.failures.append(f"{time.time():.3f} keep={keep} {error!r}")
                opened.close()
            if not keep:
                opened.close()
            time.sleep(PAUSE_S)


def main() -> None:
    """Start the callers and report until the pod is deleted."""
    callers = Callers(sys.argv[1], sys.argv[2])
    callers.wait_for_the_first_answer()
    for index in range(CALLERS):
        threading.Thread(target=callers.go_on, kwargs={"keep": index % 2 == 0}, daemon=True).start()
    while True:
        time.sleep(1)
        report = {"versions": callers.versions, "failures": callers.failures[:20]}
        print(json.dumps({**report, "failed": len(callers.failures)}), flush=True)


if __name__ == "__main__":
    main()
