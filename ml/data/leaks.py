"""What a day's features must not be made from: columns that are known later than they are needed.

project.yaml lists some under `known_later`. What the target is made from counts as known later by
itself, or a feature could be the target in other words: it is found by blanking columns and looking
whether the target changes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from weakref import WeakKeyDictionary

import polars as pl

from ml.core.errors import BadInputError
from ml.core.project import Project

Frames = dict[str, pl.DataFrame]
Build = Callable[[Frames], pl.DataFrame]
RawColumn = tuple[str, str]
"""A table and one of its columns."""

# A sample is enough to see what the target is made from; a large day would be built many times.
SAMPLE_ROWS = 5000
# Far below what is left of a feature when it is rounded to 32 bits.
ROUNDING = 1e-12
# A process builds many days with one features(): what was found on one day holds for the others.
_FOUND: "WeakKeyDictionary[Callable[..., object], tuple[RawColumn, ...]]" = WeakKeyDictionary()


def check_leaks(
    project: Project,
    features: Callable[..., object],
    build: Build,
    tables: Frames,
    frame: pl.DataFrame,
) -> None:
    """Raise BadInputError when `frame`, a day's features, is made from what is known later.

    `build` makes the features of tables, by the project's `features`; `frame` of the day's.
    """
    search = _Search(project, build, frame, tables)
    listed = _listed(project.spec.known_later, tables)
    without = build(blanked(tables, listed))
    if leaking := search.leaking(without):
        raise BadInputError(
            f"features() of '{project.name}' looks ahead: {', '.join(leaking)} "
            "change when the columns listed under known_later are blanked"
        )
    made_from = search.made_from(listed, without, _FOUND.get(features, ()))
    if not made_from:
        return
    _FOUND[features] = made_from
    leaking = search.leaking(build(blanked(tables, [*listed, *made_from])))
    if leaking:
        columns = ", ".join(".".join(column) for column in made_from)
        raise BadInputError(
            f"features() of '{project.name}' looks ahead: {', '.join(leaking)} change with "
            f"{columns}, of which '{project.spec.target}' is made: leave that out of the features, "
            "or list under known_before in project.yaml what of it is known when a prediction is "
            "asked for"
        )


def leaks(frame: pl.DataFrame, without: pl.DataFrame, target: str) -> list[str]:
    """Name the columns, besides the target, that differ once later knowledge is blanked."""
    if frame.height != without.height:
        return ["the number of rows"]
    # A join may give the rows in any order.
    frame, without = frame.sort("id"), without.sort("id")
    others = [c for c in frame.columns if c != target]
    return [c for c in others if c not in without or not _alike(frame[c], without[c])]


def _alike(values: pl.Series, others: pl.Series) -> bool:
    """Whether two columns are equal, but for the order in which threads add numbers up."""
    if values.equals(others) or not (values.dtype.is_float() and others.dtype.is_float()):
        return values.equals(others)
    near = values.is_finite() & ((values - others).abs() <= ROUNDING * values.abs())
    same = values.eq_missing(others) | near.fill_null(value=False)
    return bool(same.all())


def blanked(tables: Frames, columns: Sequence[RawColumn]) -> Frames:
    """Make every value of the columns null."""

    def blank(name: str, frame: pl.DataFrame) -> pl.DataFrame:
        gone = [column for table, column in columns if table == name]
        return frame.with_columns(pl.lit(None, frame.schema[c]).alias(c) for c in gone)

    return {name: blank(name, frame) for name, frame in tables.items()}


def _listed(columns: dict[str, list[str]], tables: Frames) -> list[RawColumn]:
    return [
        (table, column)
        for table, names in columns.items()
        for column in names
        if table in tables and column in tables[table].columns
    ]


@dataclass(frozen=True)
class _Search:
    """A day, and its features as they are."""

    project: Project
    build: Build
    frame: pl.DataFrame
    tables: Frames

    def leaking(self, without: pl.DataFrame) -> list[str]:
        return leaks(self.frame, without, self.project.spec.target)

    def made_from(
        self, listed: list[RawColumn], without: pl.DataFrame, found: tuple[RawColumn, ...]
    ) -> tuple[RawColumn, ...]:
        """Find what the target is made from besides the columns listed as known later."""
        target = self.project.spec.target
        found = tuple(column for column in found if column in set(self._candidates(listed)))
        if not (_varies(self.frame[target]) and _varies(without[target])):
            return found  # nothing was there to be seen, or nothing is left of it
        if found and not _varies(self.build(blanked(self.tables, [*listed, *found]))[target]):
            return found
        sample = blanked(_sample(self.tables, self.project.spec.main_table), [*listed, *found])
        trial = _Trial(self.build, target, sample, self.build(sample))
        return (*found, *trial.matter(list(self._candidates([*listed, *found]))))

    def _candidates(self, known: list[RawColumn]) -> Iterator[RawColumn]:
        spec = self.project.spec
        for table, frame in self.tables.items():
            # Which row it is, says a key; nothing is made of it but the way to others.
            key = spec.tables[table].key if table in spec.tables else []
            for column in frame.columns:
                beforehand = column in spec.known_before.get(table, [])
                if column not in key and not beforehand and (table, column) not in known:
                    yield table, column


def _varies(target: pl.Series) -> bool:
    return target.n_unique() > 1


def _sample(tables: Frames, main: str) -> Frames:
    step = -(-tables[main].height // SAMPLE_ROWS) or 1
    return {**tables, main: tables[main].gather_every(step)}


class Effect(Enum):
    """What became of the target when columns were changed."""

    SAME = "each row has the target that it had"
    OTHER = "some row has another"
    OTHER_ROWS = "the columns say which row it is"
    NO_ROWS = "no row is left to compare"


@dataclass(frozen=True)
class _Trial:
    """A sample, in which columns are changed to see whether the target changes."""

    build: Build
    target: str
    tables: Frames
    frame: pl.DataFrame

    def matter(self, columns: list[RawColumn]) -> list[RawColumn]:
        """Find the columns that decide about the target, by halves as most do not."""
        if not columns or (seen := self._see(blanked(self.tables, columns))) is Effect.SAME:
            return []
        if len(columns) > 1:
            half = len(columns) // 2
            return [*self.matter(columns[:half]), *self.matter(columns[half:])]
        if seen is Effect.NO_ROWS:  # then with other rows' values
            seen = self._see(self._turned(columns[0]))
        return columns if seen is Effect.OTHER else []

    def _see(self, tables: Frames) -> Effect:
        try:
            now = self.build(tables)
        except BadInputError:
            return Effect.NO_ROWS
        before, after = (
            frame.select(pl.col("id").cast(pl.String), y=self.target).drop_nulls("id")
            for frame in (self.frame, now)
        )
        both = before.join(after, on="id", suffix="_now")
        if both.is_empty():
            return Effect.OTHER_ROWS if now.height else Effect.NO_ROWS
        changed = both.select(pl.col("y").ne_missing(pl.col("y_now")).any()).item()
        return Effect.OTHER if changed else Effect.SAME

    def _turned(self, column: RawColumn) -> Frames:
        table, name = column
        frame = self.tables[table]
        turned = pl.concat([frame[name].tail(1), frame[name].head(frame.height - 1)])
        return {**self.tables, table: frame.with_columns(turned)}
