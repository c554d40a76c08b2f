"""Send one notice to every address in a file: a process of its own, the only one that reads it.

    send_notice.py FILE SECONDS < notice.json

The file has one Apprise address a line (docs/notifications.md); `failure,drift=slack://...` takes
only those events. For each address one line of JSON goes to stdout: `number` (the line in the
file), `service`, `ok` and `why`. A line that names an event which is none of the notice's `events`
gets one with every notice, whatever else it names. Receivers do not wait for each other, and no one
waits for any longer than SECONDS. An address is as good as a password, so none is ever written, in
whole or part.

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
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from apprise import NotifyBase, NotifyResult

# More than the names of events are made of: a misspelt one is to be told as that.
_LINE = re.compile(r"^(?:(?P<events>[a-z0-9_, -]+)=\s*)?(?P<url>[a-z0-9]+://.*)$", re.IGNORECASE)
_TWO_URLS = re.compile(r"^[a-z0-9]+://.*(?:[\s,;]|\s[a-z0-9_, -]+=\s*)[a-z0-9]+://", re.IGNORECASE)
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

    def unknown(self, events: list[str]) -> list[str]:
        """Return the names on the line that are none of these events."""
        return sorted(self.events.difference(events))

    @property
    def scheme(self) -> str:
        """Return the part of the address that is no secret; "none" when it has no such part."""
        scheme, found, _ = self.url.partition("://")
        return scheme.lower() if found and scheme.isalnum() else "none"

    @property
    def flaw(self) -> str:
        """Return why Apprise cannot make a service of the address."""
        if _TWO_URLS.match(self.url):
            return "it has two addresses: one to a line"
        return "this is no address that Apprise understands"

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


def misspelt(lines: list[Address], events: list[str]) -> Iterator[Delivery]:
    """Tell of each line that names an event which is none of those there are.

    Nothing would ever be sent for that name, and nobody would know.
    """
    for one in lines:
        # Whoever mixed up the two sides of the line may have written a password before the `=`.
        if names := " and ".join(f"the event `{one.hide(name)}`" for name in one.unknown(events)):
            why = f"it names {names}, and there are {', '.join(events)}"
            yield Delivery(one.number, one.scheme, False, why)


def deliver(chosen: list[Address], notice: dict[str, Any], limit: float) -> list[Delivery]:
    """Send the notice to all addresses at once; return how each ended within the limit."""
    from apprise import Apprise, NotifyFormat

    receivers = Apprise()
    # Compared with None: a service has a length, its number of targets, which may be 0.
    understood = {one: made for one in chosen if (made := _service(one)) is not None}
    for service in understood.values():
        receivers.add(service)
    unsent = [
        Delivery(one.number, one.scheme, False, one.flaw) for one in chosen if one not in understood
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


def _service(address: Address) -> NotifyBase | None:
    """Return what sends to the address; None when it is no address, or is not only one.

    Apprise would split a text with two into two services, and neither result be told of its line.
    """
    from apprise import Apprise

    return None if _TWO_URLS.match(address.url) else Apprise.instantiate(address.url)


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
    lines = list(addresses(Path(file).read_text()))
    chosen = [one for one in lines if one.wants(notice["event"])]
    for delivery in [*misspelt(lines, notice["events"]), *deliver(chosen, notice, float(limit))]:
        print(json.dumps(asdict(delivery)), flush=True)
    os._exit(0)  # at once: a thread may still wait for a receiver that hangs


if __name__ == "__main__":
    main()
