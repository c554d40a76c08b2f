"""Rows that a model can't score: found by halving, and told by row and column.

A user's estimator may raise anything at a value that it does not know. That costs the row which
holds the value, and no other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml.serving.inputs import InputError
from ml.serving.manifest import Row
from ml.serving.predictors import Predictor

NO_NUMBER = "the model gave no number"
# What stands in brackets or quotes in an error's text is mostly the caller's own value.
_QUOTED = re.compile(r"\[.*?\]|'.*?'|\".*?\"")
_LONGEST = 200


@dataclass(frozen=True)
class Refusal:
    """A row without a score, why, and the column that is to blame where it is known."""

    row: int
    reason: str
    column: str | None = None

    def __str__(self) -> str:
        return self.reason if self.column is None else f"{self.column} {self.reason}"


@dataclass(frozen=True)
class Answers:
    """A score for each row, NaN where it is refused, and the refusals in the order of the rows."""

    scores: list[float]
    refusals: list[Refusal]

    @property
    def guessed(self) -> list[float]:
        """The scores, and for a refused row the mean of the others.

        For measuring: a model that can't tell says what it says on average.
        """
        given = [score for score in self.scores if not math.isnan(score)]
        mean = math.fsum(given) / len(given) if given else 0.5
        return [mean if math.isnan(score) else score for score in self.scores]


def ask(
    predictor: Predictor, rows: Sequence[Row], known: Row | None = None, most: int | None = None
) -> Answers:
    """Score rows, whatever the model raises at some of them.

    The column at fault is looked for with the values of `known`, a row that the model does score.
    After `most` refused rows, the rest is left without a score.
    """
    scores, failures = halved(len(rows), lambda low, high: predictor(rows[low:high]), most)
    blamed: dict[str, str | None] = {}
    refusals = []
    for row, error in failures.items():
        if isinstance(error, InputError):
            refusals.append(Refusal(row, error.fault, error.column))
            continue
        reason = NO_NUMBER if error is None else _told(error)
        if known is not None:
            blamed[reason] = _column(predictor, rows[row], known, blamed.get(reason))
        refusals.append(Refusal(row, reason, blamed.get(reason)))
    return Answers(scores, refusals)


def halved(
    count: int, score: Callable[[int, int], Sequence[float]], most: int | None = None
) -> tuple[list[float], dict[int, Exception | None]]:
    """Score `count` rows, by halves where a part raises; return what each failed row raised.

    `score` takes the first row and the one after the last. A row whose score is no finite number
    failed too, with None for an error. After `most` failed rows the rest gets NaN unasked.
    """
    failures: dict[int, Exception | None] = {}

    def part(low: int, high: int) -> list[float]:
        if most is not None and len(failures) >= most:
            return [math.nan] * (high - low)
        try:
            scores = list(score(low, high))
            if len(scores) != high - low:
                raise ValueError(f"it gave {len(scores)} scores for {high - low} rows")
        except Exception as error:
            if high - low > 1:
                middle = (low + high) // 2
                return part(low, middle) + part(middle, high)
            failures[low] = error
            return [math.nan]
        lost = [n for n, one in enumerate(scores) if not math.isfinite(one)]
        failures.update({low + n: None for n in lost})
        for n in lost:
            scores[n] = math.nan
        return scores

    return (part(0, count) if count else []), failures


def _told(error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0]
    text = _QUOTED.sub("…", first_line)
    return f"is refused by the model: {type(error).__name__}: {text}"[:_LONGEST]


def _column(predictor: Predictor, row: Row, known: Row, guess: str | None) -> str | None:
    """Find the one column with whose known value the row can be scored, by halving the columns."""

    def heals(names: list[str]) -> bool:
        mended = dict(row) | {name: known.get(name) for name in names}
        return not halved(1, lambda *_: predictor([mended]))[1]

    if guess is not None and heals([guess]):
        return guess
    names = list(known)
    if not heals(names):
        return None
    while len(names) > 1:
        halves = names[: len(names) // 2], names[len(names) // 2 :]
        healing = [half for half in halves if heals(half)]
        if len(healing) != 1:
            return None
        (names,) = healing
    return names[0]
