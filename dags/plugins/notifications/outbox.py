"""Where notices wait to be sent, one after the other, by a process of its own."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from notifications.notices import Event, LateRun, Notice, late_notice_of
from notifications.subscription import Subscription

log = logging.getLogger(__name__)

SENDER = Path(__file__).with_name("send_notice.py")
# All that the sending process gets to know of this one's environment.
_HANDED_ON = re.compile(
    r"(?i)^(https?_proxy|no_proxy|ssl_cert_(file|dir)|requests_ca_bundle|lang)$"
)
_APPRISE_TYPE = {
    Event.SUCCESS: "success",
    Event.FAILURE: "failure",
    Event.REFUSED: "info",
    Event.ROLLED_BACK: "warning",
    Event.DRIFT: "warning",
    Event.LATE: "warning",
}


class Outbox:
    """Sends notices one after the other, beside whatever this process does.

    `limit` is how many seconds a receiver may take; beyond `room` waiting notices, new ones are
    dropped, and that is counted too.
    """

    def __init__(self, limit: float = 15, room: int = 100) -> None:
        self.limit = limit
        self._room = threading.Semaphore(room)
        # Its thread starts with the first notice, and the interpreter waits for it at its end.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="notifications")

    def put(self, notice: Notice, file: Path) -> None:
        """Have the notice sent, soon, to the addresses in `file`."""
        if not self._room.acquire(blocking=False):
            _count("failed")
            log.warning("dropped the notice `%s`: too many are waiting", notice.title)
            return
        self._pool.submit(self._send, notice, file)

    def settle(self) -> None:
        """Return once everything that was put has been sent, or has failed."""
        self._pool.submit(int).result()

    def _send(self, notice: Notice, file: Path) -> None:
        try:
            for line in self._sent(notice, file).splitlines():
                _tell(notice, json.loads(line))
        except Exception as error:
            _count("failed")
            log.warning("the notice `%s` could not be sent: %s", notice.title, error)
        finally:
            self._room.release()

    def _sent(self, notice: Notice, file: Path) -> str:
        """Return what the sending process says; it does not outlive its time."""
        message = {
            "event": notice.event,
            "events": list(Event),
            "type": _APPRISE_TYPE[notice.event],
            "title": notice.title,
            "body": notice.body,
        }
        if not file.is_file():
            raise FileNotFoundError(f"SLIPWAY_NOTIFICATIONS_FILE is {file}, which is not there")
        # Its error output may hold an address.
        done = subprocess.run(
            [sys.executable, "-I", str(SENDER), str(file), str(self.limit)],
            input=f"{json.dumps(message)}\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=self.limit + 30,
            env={name: text for name, text in os.environ.items() if _HANDED_ON.fullmatch(name)},
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the sending process ended with exit code {done.returncode}")
        return done.stdout


OUTBOX = Outbox()
"""What this process tells, of ends and of late runs, goes through one."""


def _tell(notice: Notice, delivery: dict[str, Any]) -> None:
    where = f"{delivery['service']} (line {delivery['number']})"
    if delivery["ok"]:
        _count("sent")
        log.info("sent the notice `%s` to %s", notice.title, where)
    else:
        _count("failed")
        log.warning("the notice `%s` did not reach %s: %s", notice.title, where, delivery["why"])


def _count(outcome: str) -> None:
    from airflow.observability import stats

    stats.incr(f"slipway.notifications.{outcome}")


def tell_late(run: LateRun) -> None:
    """Tell that a run is late, if anybody wants to know; the notice is sent soon."""
    subscription = Subscription.read()
    if subscription is None or Event.LATE not in subscription.events:
        return
    OUTBOX.put(late_notice_of(run, subscription.places), subscription.file)
