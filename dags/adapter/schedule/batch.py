"""Scoring many days: which pods do which days, and what came of it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date, timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context, Param
from airflow.sdk.definitions.xcom_arg import XComArg
from airflow.sdk.exceptions import AirflowFailException

MOST_PODS = 40
"""Days above this number share pods, so that the list of them stays below 1 KiB."""

AT_ONCE = 4
"""How many days of one run are scored at the same time."""


class DaysOperator(BaseOperator):
    """Return the days to score, a list of `YYYY-MM-DD` or, for many, of `first/last`.

    `days` are those to score where no range is given, with commas between them.
    """

    template_fields = ("days", "first", "last")
    ui_color = "#fbe8c8"

    def __init__(self, *, days: str, first: str, last: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.first = first
        self.last = last

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002 - Airflow's signature
        """Work out the days; a range that is none fails the run at once."""
        if bool(self.first) != bool(self.last):
            raise AirflowFailException("give both `first` and `last`, or neither: then it is a day")
        parts = self._range() if self.first else self._days()
        self.log.info("%s to %s in %d parts", parts[0], parts[-1], len(parts))
        return parts

    def _days(self) -> list[str]:
        """Return each day; of very many, as after a pause, neighbours together."""
        try:
            return gathered({date.fromisoformat(day) for day in self.days.split(",")})
        except ValueError as error:
            raise AirflowFailException(f"cannot score these days: {error}") from error

    def _range(self) -> list[str]:
        parts = partitions(date.fromisoformat(self.first), date.fromisoformat(self.last))
        if not parts:
            raise AirflowFailException(f"`first`, {self.first}, is after `last`, {self.last}")
        return parts


def partitions(first: date, last: date, most: int = MOST_PODS) -> list[str]:
    """Cut a range of days into at most `most` parts of about the same length."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    size = -(-len(days) // most) if days else 1
    return _cut(days, size)


def gathered(days: Collection[date], most: int = MOST_PODS) -> list[str]:
    """Put days into at most `most` parts that hold no other day.

    Raises ValueError when the days lie too far apart for that.
    """
    stretches = _stretches(days)
    for size in range(1, len(days) + 1):
        parts = [part for stretch in stretches for part in _cut(stretch, size)]
        if len(parts) <= most:
            return parts
    raise ValueError(
        f"{len(days)} days in {len(stretches)} stretches are too many for one run: "
        "trigger a run with `first` and `last`, which name a range of days"
    )


def _stretches(days: Collection[date]) -> list[list[date]]:
    """Sort days into rows of neighbours."""
    found: list[list[date]] = []
    for day in sorted(days):
        if found and day - found[-1][-1] == timedelta(days=1):
            found[-1].append(day)
        else:
            found.append([day])
    return found


def _cut(days: list[date], size: int) -> list[str]:
    """Cut neighbouring days into parts of `size`, each named by its ends."""
    parts = [days[start : start + size] for start in range(0, len(days), size)]
    return [str(part[0]) if len(part) == 1 else f"{part[0]}/{part[-1]}" for part in parts]


class SummaryOperator(BaseOperator):
    """Add up what the scored days said, for people and for whoever notifies them."""

    template_fields = ("project", "results")
    ui_color = "#d7e8d0"

    def __init__(self, *, project: str, results: XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.results: Any = results  # once rendered, the results themselves

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Return rows, mean score, refused rows with reasons, and all of it as a sentence."""
        # As a slice: walking on until it ends, Airflow writes an error to the log of a good task.
        told = summary_of(self.project, self.results[:])
        self.log.info("%s", told["summary"])
        return told


def summary_of(project: str, results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Add up the results of scored days, which all come from the same version."""
    parts = list(results)
    rows = sum(part["rows"] for part in parts)
    total = sum(part["mean_score"] * part["rows"] for part in parts if part["rows"])
    reasons = sum((Counter(part["reasons"]) for part in parts), Counter[str]())
    often = dict(reasons.most_common(5))
    told = {
        "days": sum(part["days"] for part in parts),
        "rows": rows,
        # Of a day on which nothing happened there is no mean.
        "mean_score": round(total / rows, 6) if rows else None,
        "refused": sum(part["refused"] for part in parts),
        "skipped": sum(part["days"] for part in parts if part["status"] == "skipped"),
        "version": parts[0]["version"],
    }
    return {**told, "reasons": often, "summary": _sentence(project, told, often)}


def _sentence(project: str, told: dict[str, Any], reasons: dict[str, int]) -> str:
    why = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
    refused = f"{told['refused']} rows were refused: {why}" if why else "no row was refused"
    mean = f", {told['mean_score']:.4f} on average" if told["rows"] else ""
    days = "1 day" if told["days"] == 1 else f"{told['days']} days"
    return (
        f"version {told['version']} of {project} has scored {told['rows']} rows of "
        f"{days}{mean}; {refused}"
    )[:400]


def range_params() -> dict[str, Param]:
    """Return the parameters by which a run is for many days."""
    return {
        name: Param(
            None,
            type=["null", "string"],
            format="date",
            title=title,
            description=f"{title} to score, as YYYY-MM-DD. Empty, like its other end: one day.",
        )
        for name, title in (("first", "First day"), ("last", "Last day"))
    }
