"""Send one notice to every address in a file: a process of its own, the only one that reads it.

    send_notice.py FILE SECONDS < notice.json

The file has one Apprise address a line (docs/notifications.md); `failure,drift=slack://...` takes
only those events. For each address one line of JSON goes to stdout: `number` (the line in the
file), `service`, `ok` and `why`. Receivers do not wait for each other, and no one waits for any
longer than SECONDS. An address is as good as a password, so none is ever written, in whole or part.

A process rather than a thread: it can be stopped whatever a receiver does, and Airflow's scheduler,
which forks all the time, neither holds the addresses nor runs anyone's network code.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from apprise import NotifyResult

_LINE = re.compile(r"^(?:(?P<events>[a-z_, ]+)=\s*)?(?P<url>[a-z0-9]+://.*)$", re.IGNORECASE)
_SECRET_LENGTH = 4


@dataclass(frozen=True)
class Address:
    """One line of the file; no events means every event."""

    number: int
    url: str
    events: frozenset[str] = frozenset()

    def wants(self, event: str) -> bool:
        """Return whether a notice of this event is to be sent here."""
        return not self.events or event in self.events

    @property
    def scheme(self) -> str:
        """Return the part of the address that is no secret; "none" when it has no such part."""
        scheme, found, _ = self.url.partition("://")
        return scheme.lower() if found else "none"

    def hide(self, text: str) -> str:
        """Return `text` with everything in it that this address is made of replaced by stars."""
        rest = self.url.partition("://")[2]
        parts = {one for part in re.split(r"[/@:?&=,#+]", rest) for one in (part, unquote(part))}
        for part in sorted(parts | {self.url, rest}, key=len, reverse=True):
            text = text.replace(part, "***") if len(part) >= _SECRET_LENGTH else text
        return text


@dataclass(frozen=True)
class Delivery:
    """How it went with one address; `why` is empty when it went well."""

    number: int
    service: str
    ok: bool
    why: str = ""


def addresses(text: str) -> Iterator[Address]:
    """Read the lines of the file, leaving out empty ones and comments.

    A line that is no address is kept, and fails when it is used: it is then told and counted.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        found = _LINE.match(line)
        names = (found["events"] or "").split(",") if found else []
        events = frozenset(name.strip() for name in names if name.strip())
        yield Address(number, found["url"] if found else line, events)


def deliver(chosen: list[Address], notice: dict[str, str], limit: float) -> list[Delivery]:
    """Send the notice to all addresses at once; return how each ended within the limit."""
    from apprise import Apprise, NotifyFormat

    receivers = Apprise()
    understood = [one for one in chosen if receivers.add(one.url)]
    why = "this is no address that Apprise understands"
    unsent = [
        Delivery(one.number, one.scheme, False, why) for one in chosen if one not in understood
    ]
    if not understood:
        return unsent
    results = receivers.notify(
        title=notice["title"],
        body=notice["body"],
        notify_type=notice["type"],
        body_format=NotifyFormat.MARKDOWN,
        timeout=limit,
    )
    pairs = zip(understood, results, strict=True)
    return unsent + [
        Delivery(one.number, result.name, bool(result), "" if result else _why(one, result))
        for one, result in pairs
    ]


def _why(address: Address, result: NotifyResult) -> str:
    """Return the last thing that Apprise said of a failed delivery, without the secret."""
    if result.status.name == "TIMEOUT":
        return "it took too long"
    said = [entry.message for entry in result.logs()] or ["it gave no reason"]
    return address.hide(" ".join(said[-1].split()))


def main() -> None:
    """Send the notice on stdin to the addresses in the file that is named as the argument."""
    file, limit = sys.argv[1:]
    # A line, not all there is: a process that the scheduler forks meanwhile may hold the pipe open.
    notice = json.loads(sys.stdin.readline())
    chosen = [one for one in addresses(Path(file).read_text()) if one.wants(notice["event"])]
    for delivery in deliver(chosen, notice, float(limit)):
        print(json.dumps(asdict(delivery)), flush=True)
    os._exit(0)  # at once: a thread may still wait for a receiver that hangs


if __name__ == "__main__":
    main()
