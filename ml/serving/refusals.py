"""Rows that a model can't score: found by halving, and told by row and column.

A user's estimator may raise anything at a value that it does not know. That costs the row which
holds the value, and no other.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ml.serving.inputs import InputError
from ml.serving.manifest import Row
from ml.serving.predictors import Predictor

NO_NUMBER = "the model gave no number"
# What stands in brackets or quotes in an error's text is mostly the caller's own value.
_QUOTED = re.compile(r"\[.*?\]|'.*?'|\".*?\"")
_LONGEST = 200
# So many rows are asked alone before their word is given up; millions of them would take hours.
_OFTEN = 20
# Of so many rows the column is looked for; of those after them it is left open.
_SEARCHED = 1000


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

    The column at fault is looked for with the values of `known`, a row that the model does score. A
    word that was to blame for many rows, each asked alone, is taken to be so for all. After `most`
    refused rows, the rest is left without a score.
    """
    asking = _Asking(predictor, rows, known, most)
    return Answers(asking.scores, [asking.refusals[row] for row in sorted(asking.refusals)])


class Halving:
    """Scores rows, by halves where a part raises, until the rows that raise are alone.

    `score` takes the numbers of some rows. A row whose score is no finite number fails too, with
    None for an error. After `most` failed rows the rest is left unasked, with NaN.
    """

    def __init__(
        self, count: int, score: Callable[[Sequence[int]], Sequence[float]], most: int | None = None
    ) -> None:
        self.scores = [math.nan] * count
        self.failures: dict[int, Exception | None] = {}
        self._score = score
        self._most = most
        self._part(range(count))

    def failed(self, row: int, error: Exception | None) -> None:
        """Note that a row has no score, and what it raised."""
        self.failures[row] = error

    def left(self, rows: Sequence[int]) -> Sequence[int]:
        """Name the rows that are still to be asked."""
        return rows

    def _part(self, rows: Sequence[int]) -> None:
        rows = self.left(rows)
        if not rows or (self._most is not None and len(self.failures) >= self._most):
            return
        try:
            scores = self._score(rows)
            if len(scores) != len(rows):
                raise ValueError(f"it gave {len(scores)} scores for {len(rows)} rows")
        except Exception as error:
            if len(rows) == 1:
                self.failed(rows[0], error)
                return
            middle = len(rows) // 2
            self._part(rows[:middle])
            self._part(rows[middle:])
            return
        for row, score in zip(rows, scores, strict=True):
            if math.isfinite(score):
                self.scores[row] = score
            elif self._most is None or len(self.failures) < self._most:
                self.failed(row, None)


class _Asking(Halving):
    """Halving that finds the column at fault of each row, and learns from it."""

    def __init__(
        self, predictor: Predictor, rows: Sequence[Row], known: Row | None, most: int | None
    ) -> None:
        self.refusals: dict[int, Refusal] = {}
        self._predictor, self._rows, self._known = predictor, rows, known
        self._blamed: dict[str, str | None] = {}
        self._words: Counter[tuple[str, str]] = Counter()
        self._hopeless: dict[tuple[str, str], Refusal] = {}
        super().__init__(len(rows), lambda some: predictor([rows[n] for n in some]), most)

    def failed(self, row: int, error: Exception | None) -> None:
        """Note who is to blame, and give a word up that was to blame often."""
        super().failed(row, error)
        refusal = self.refusals[row] = self._refusal(row, error)
        word = self._rows[row].get(refusal.column) if refusal.column is not None else None
        if refusal.column is None or not isinstance(word, str):
            return
        self._words[refusal.column, word] += 1
        if self._words[refusal.column, word] >= _OFTEN:
            self._hopeless[refusal.column, word] = refusal

    def left(self, rows: Sequence[int]) -> Sequence[int]:
        """Leave the rows out that hold a word which was given up."""
        for (column, word), refusal in self._hopeless.items():
            alike = [n for n in rows if self._rows[n].get(column) == word]
            self.failures.update(dict.fromkeys(alike))
            self.refusals.update({n: replace(refusal, row=n) for n in alike})
            rows = [n for n in rows if n not in self.refusals]
        return rows

    def _refusal(self, row: int, error: Exception | None) -> Refusal:
        if isinstance(error, InputError):
            return Refusal(row, error.fault, error.column)
        reason = NO_NUMBER if error is None else _told(error)
        if self._known is not None and len(self.failures) <= _SEARCHED:
            guess = self._blamed.get(reason)
            self._blamed[reason] = _column(self._predictor, self._rows[row], self._known, guess)
            return Refusal(row, reason, self._blamed[reason])
        return Refusal(row, reason)


def _told(error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0]
    text = _QUOTED.sub("…", first_line)
    return f"is refused by the model: {type(error).__name__}: {text}"[:_LONGEST]


def _column(predictor: Predictor, row: Row, known: Row, guess: str | None) -> str | None:
    """Find the one column with whose known value the row can be scored, by halving the columns."""

    def heals(names: list[str]) -> bool:
        mended = dict(row) | {name: known.get(name) for name in names}
        return not Halving(1, lambda _: predictor([mended])).failures

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
