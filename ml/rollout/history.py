"""What a project's versions have been through, and which of them the way back leads to.

It is read from tags of the versions themselves, so that it outlives the place that serves them:

- `slipway.rollout` says how the last roll-out ended (`done`, `failed`, `refused`), and
  `slipway.rollout_reason` why;
- `slipway.champion_number` counts the champions: the third to win has 3;
- `slipway.taken_back` says when, by whom and why a version was taken from its users. While it is
  there, the version is neither rolled out nor gone back to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ml.registry.aliases import TAG
from ml.registry.model_registry import RegisteredVersion

OUTCOME = f"{TAG}rollout"
REASON = f"{TAG}rollout_reason"
NUMBER = f"{TAG}champion_number"
TAKEN_BACK = f"{TAG}taken_back"
GIVEN_BACK = f"{TAG}given_back"
DONE, FAILED, REFUSED = "done", "failed", "refused"
LONGEST = 1000


@dataclass(frozen=True)
class Word:
    """Who wants something of a version, and why."""

    by: str
    why: str

    def __str__(self) -> str:
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"{now}, by {self.by}: {self.why or 'no reason was given'}"[:LONGEST]


@dataclass(frozen=True)
class Past:
    """What one version has been through."""

    version: str
    tags: Mapping[str, str]

    @property
    def outcome(self) -> str:
        """How its last roll-out ended; "" when there was none."""
        return self.tags.get(OUTCOME, "")

    @property
    def served(self) -> bool:
        """Whether it has been checked and has answered users."""
        # Versions from before champions were counted have the outcome alone.
        return self.outcome == DONE or self.number > 0

    @property
    def taken_back(self) -> str:
        """When it was taken back, by whom and why; "" when it was not."""
        return self.tags.get(TAKEN_BACK, "")

    @property
    def number(self) -> int:
        """Its number among the champions; 0 when it was none, or before they were counted."""
        number = self.tags.get(NUMBER, "")
        return int(number) if number.isdecimal() else 0

    @property
    def order(self) -> tuple[bool, int, int]:
        """Where it comes among those to go back to, the last one first in line.

        One that failed when it was last tried comes behind all others: what ailed it may be over,
        and it is checked before users reach it.
        """
        return self.outcome != FAILED, self.number, int(self.version)


@dataclass(frozen=True)
class History:
    """All the versions of a project, by number."""

    pasts: Mapping[str, Past]

    @classmethod
    def of(cls, versions: Iterable[RegisteredVersion]) -> History:
        """Read what the registry's versions say."""
        pasts = (Past(str(one.version), dict(one.tags)) for one in versions)
        return cls({past.version: past for past in pasts})

    def tags(self, version: str | None) -> Mapping[str, str]:
        """What is written on a version; nothing on one that is not there."""
        past = self.pasts.get(version or "")
        return past.tags if past else {}

    def taken_back(self, version: str | None) -> str:
        """When a version was taken back, by whom and why; "" when it was not."""
        return self.tags(version).get(TAKEN_BACK, "")

    def with_tags(self, version: str, tags: Mapping[str, str]) -> History:
        """Return the history as it is once these tags are written too."""
        past = self.pasts.get(version, Past(version, {}))
        return replace(self, pasts={**self.pasts, version: Past(version, {**past.tags, **tags})})

    def next_number(self) -> int:
        """Return the number of the champion to come."""
        return 1 + max((past.number for past in self.pasts.values()), default=0)

    def way_back(self, champion: str) -> Past | None:
        """Return the version that was champion before this one, and may be again.

        One that was taken back is passed over.
        """
        now = Past(champion, self.tags(champion))
        # A champion whose number could not be noted is the last one.
        reached = now.number or self.next_number()

        def before(past: Past) -> bool:
            if past.number:
                return past.number < reached
            return int(past.version) < int(champion)

        found = (past for past in self.pasts.values() if past.served and not past.taken_back)
        others = (past for past in found if past.version != champion and before(past))
        return max(others, key=lambda past: past.order, default=None)
