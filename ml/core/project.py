"""What a user brings: project.yaml and model.py, found and read without heavy imports.

A project is looked for in each folder of SLIPWAY_PROJECTS_PATH and then among our own, either as
a folder `<name>/project.yaml` or, as in a ConfigMap, as a file `<name>.project.yaml`.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ml.core.errors import BadInputError
from ml.core.users_code import MODULES, users_code
from ml.stages import Stage

# Up to the gate: what comes after it waits for its decision.
FUSABLE = tuple(Stage)[: tuple(Stage).index(Stage.ROLL_OUT)]
OURS = Path(__file__).parents[1] / "projects"
LONGEST_NAME = 40
NAME = re.compile(rf"[a-z]([a-z0-9_-]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?")
COLUMN = re.compile(
    r"(?P<type>int|float|str|bool|datetime|date)"
    r"(?: (?P<low>-?\d+)\.\.(?P<high>-?\d+))?(?P<null> or null)?"
)


class Strict(BaseModel):
    """A part of project.yaml: an unknown key is an error, not a silent nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnType(StrEnum):
    """What a column of a landed table may hold."""

    INT = "int"
    FLOAT = "float"
    STR = "str"
    BOOL = "bool"
    DATETIME = "datetime"
    DATE = "date"


class ColumnRule(Strict):
    """What must be true of a column, written `str`, `int 0..2359` or `float or null`."""

    type: ColumnType
    nullable: bool = False
    low: float | None = None
    high: float | None = None


def parse_column(text: object) -> object:
    """Read a column's rule from its short form."""
    if not isinstance(text, str):
        return text
    found = COLUMN.fullmatch(text.strip())
    if not found:
        raise ValueError(f"'{text}' is not a rule such as 'str', 'int 0..2359' or 'float or null'")
    low, high = found["low"], found["high"]
    return {
        "type": found["type"],
        "nullable": bool(found["null"]),
        "low": None if low is None else float(low),
        "high": None if high is None else float(high),
    }


Rule = Annotated[ColumnRule, BeforeValidator(parse_column)]


class Table(Strict):
    """One landed table: which columns identify a row, and what each column must be."""

    key: list[str] = Field(default_factory=list)
    columns: dict[str, Rule] = Field(min_length=1)

    @model_validator(mode="after")
    def _key_is_declared(self) -> "Table":
        unknown = [name for name in self.key if name not in self.columns]
        if unknown:
            raise ValueError(f"the key names {', '.join(unknown)}, which columns does not list")
        return self


class Days(Strict):
    """The days there is data for, and how many of them each model uses."""

    start: date | None = None
    end: date | None = None
    window: int = Field(default=60, ge=2, le=3660, description="days a model is made from")
    holdout: int = Field(default=7, ge=1, description="the last of them, which only test it")

    @model_validator(mode="after")
    def _leaves_days_to_learn_from(self) -> "Days":
        if self.holdout >= self.window:
            raise ValueError(f"holdout ({self.holdout}) must be below window ({self.window})")
        return self

    @property
    def first_model(self) -> date | None:
        """The first day with a whole window of days up to it; None when the first day is open."""
        return self.start and self.start + timedelta(days=self.window - 1)

    def until(self, as_of: date, count: int | None = None) -> list[date]:
        """List `count` days, by default the window's, oldest first, `as_of` the last."""
        return [as_of - timedelta(days=back) for back in reversed(range(count or self.window))]


class Gate(Strict):
    """What a candidate must show before it may replace the champion."""

    min_skill: float = Field(default=0.05, description="AUC above guessing (0.5), lower bound")
    min_gain: float = Field(default=0.0, description="AUC above the champion's, lower bound")
    max_score: float = Field(default=0.995, description="AUC above it is too good to be true")
    max_latency_ms: float = Field(default=50.0, gt=0, description="median of one-row predictions")
    slices: list[str] = Field(default_factory=list, description="feature columns to look into")
    max_slice_loss: float = Field(default=0.05, description="AUC a slice may lose, lower bound")
    min_slice_rows: int = Field(default=300, ge=2, description="smaller slices are only noted")
    replace: int | None = Field(
        default=None, description="the champion that may be replaced without being compared"
    )
    clusters: list[str] = Field(
        default_factory=list, description="what rows that belong together share: day, hour, columns"
    )


class Monitor(Strict):
    """When the model in use counts as worse than it was at its gate."""

    window: int = Field(default=7, ge=1, le=366, description="days that are judged together")
    min_rows: int = Field(default=300, ge=2, description="labelled rows; fewer prove nothing")
    watch_drop: float = Field(default=0.02, ge=0, description="AUC below the gate's, as measured")
    retrain_drop: float = Field(default=0.05, ge=0, description="AUC below the gate's, surely")
    max_refused: float = Field(default=0.05, ge=0, le=1, description="share of rows not scored")
    cool_down: int = Field(default=7, ge=0, description="days from one training to the next")

    @model_validator(mode="after")
    def _warns_before_it_acts(self) -> "Monitor":
        if self.retrain_drop < self.watch_drop:
            raise ValueError(
                f"retrain_drop ({self.retrain_drop:g}) must not be below "
                f"watch_drop ({self.watch_drop:g})"
            )
        return self

    def until(self, as_of: date) -> list[date]:
        """List the days that are judged together, oldest first, `as_of` the last."""
        return [as_of - timedelta(days=back) for back in reversed(range(self.window))]


class ProjectSpec(Strict):
    """The content of project.yaml."""

    title: str
    owner: str = "data-science"
    timezone: str = Field(default="UTC", description="whose clocks times with a zone are read on")
    target: str
    days: Days = Field(default_factory=Days)
    gate: Gate = Field(default_factory=Gate)
    approval: bool = Field(default=False, description="a person must agree before a deployment")
    monitor: Monitor = Field(default_factory=Monitor)
    known_later: dict[str, list[str]] = Field(default_factory=dict)
    known_before: dict[str, list[str]] = Field(
        default_factory=dict,
        description="what the target is made of, but is known when a prediction is asked for",
    )
    may_be_missing: list[str] = Field(
        default_factory=list, description="features that may be missing though none was in training"
    )
    fuse: list[list[Stage]] = Field(
        default_factory=list, description="groups of neighbouring stages that share one pod"
    )
    tables: dict[str, Table] = Field(min_length=1)

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"'{name}' is no time zone, such as Europe/Madrid or UTC") from None

    @field_validator("fuse")
    @classmethod
    def _neighbours(cls, groups: list[list[Stage]]) -> list[list[Stage]]:
        after = -1
        for group in groups:
            places = [FUSABLE.index(s) if s in FUSABLE else -1 for s in group]
            if len(group) < 2 or min(places) <= after or places != _count_up(places):
                raise ValueError(
                    f"[{', '.join(group)}] are not two or more neighbours of "
                    f"{', '.join(FUSABLE)}, each named once and in this order"
                )
            after = places[-1]
        return groups

    def fused_with(self, stage: Stage) -> tuple[Stage, ...]:
        """Return the stages that share a pod with this one, itself included, in order."""
        return next((tuple(group) for group in self.fuse if stage in group), (stage,))

    @property
    def optional(self) -> set[str]:
        """The features that may be missing by a rule: of the raw column, or of their own."""
        rules = (rule for table in self.tables.values() for rule in table.columns.items())
        return {name for name, rule in rules if rule.nullable} | set(self.may_be_missing)

    @property
    def start(self) -> date | None:
        """The first day there is data for, where it is known."""
        return self.days.start

    @property
    def end(self) -> date | None:
        """The last day there will ever be data for, where it is known."""
        return self.days.end

    @property
    def main_table(self) -> str:
        """The table whose rows are what is predicted: the first one named."""
        return next(iter(self.tables))


def _count_up(places: list[int]) -> list[int]:
    return list(range(places[0], places[0] + len(places)))


@dataclass(frozen=True)
class Project:
    """A project that was found, and its files."""

    name: str
    spec: ProjectSpec
    files: "Files"

    @property
    def model_source(self) -> bytes:
        """The text of model.py."""
        return _part(self, "model").read_bytes()


@dataclass(frozen=True)
class Files:
    """Where a project's files are; source.py need not exist."""

    yaml: Path
    model: Path
    source: Path

    @classmethod
    def candidates(cls, folder: Path, name: str) -> Iterator["Files"]:
        """Name the two shapes a project may have in a folder of projects."""
        for stem in (f"{name}/", f"{name}."):
            parts = (f"{stem}{part}" for part in ("project.yaml", "model.py", "source.py"))
            yield cls(*(folder / part for part in parts))


def search_path(extra: str | None = None) -> list[Path]:
    """Return the folders that hold projects, the user's before ours."""
    extra = os.environ.get("SLIPWAY_PROJECTS_PATH", "") if extra is None else extra
    return [*(Path(part) for part in extra.split(os.pathsep) if part), OURS]


def find_projects(extra: str | None = None) -> list[str]:
    """Return the names of all projects, sorted; reads no file, so a broken one is listed too."""
    return sorted({name for folder in search_path(extra) for name in _names_in(folder)})


def _names_in(folder: Path) -> Iterator[str]:
    found = (p.parent.name for p in folder.glob("*/project.yaml"))
    flat = (p.name.removesuffix(".project.yaml") for p in folder.glob("*.project.yaml"))
    yield from (name for name in (*found, *flat) if NAME.fullmatch(name))


def read_project(name: str, extra: str | None = None) -> Project:
    """Find and check a project; BadInputError when it is unknown or its project.yaml is wrong."""
    files = _find(name, search_path(extra))
    return Project(name, _read_spec(files.yaml), files)


def _find(name: str, folders: list[Path]) -> Files:
    if not NAME.fullmatch(name):
        raise BadInputError(
            f"'{name}' can't be a project's name: it begins with a small letter, goes on with "
            f"small letters, digits, '-' and '_', does not end with those two, and has at most "
            f"{LONGEST_NAME} signs in all"
        )
    known = sorted({n for folder in folders for n in _names_in(folder)})
    for folder in folders:
        for files in Files.candidates(folder, name):
            if files.yaml.is_file():
                _insist_on_own_names(name, known)
                return files
    raise BadInputError(
        f"there is no project '{name}' (known: {', '.join(known) or 'none'}); "
        "a project is a folder with project.yaml and model.py in SLIPWAY_PROJECTS_PATH"
    )


def _insist_on_own_names(name: str, known: list[str]) -> None:
    rival = next((one for one in known if one != name and _claims(one) & _claims(name)), None)
    if rival:
        raise BadInputError(
            f"the projects '{name}' and '{rival}' would share a name outside: each is served under "
            "its own, with '-' for '_', and monitored in the experiment '<project>-monitoring'; "
            "rename one of them"
        )


def _claims(name: str) -> set[str]:
    """Names that only one project may have: of its Service, and of its MLflow experiments."""
    experiments = {f"experiment {name}", f"experiment {name}-monitoring"}
    return experiments | {f"service {name.replace('_', '-')}"}


class _Once(yaml.SafeLoader):
    """Reads YAML whose keys are there once; of two, the later would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Make a dict of a mapping; YAMLError when a key comes again."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else id(key_node)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"'{key}' is there twice, again in line {line}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_spec(path: Path) -> ProjectSpec:
    try:
        return ProjectSpec.model_validate(yaml.load(path.read_text(), _Once))  # noqa: S506 - safe
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            raise BadInputError(f"{path}: {_first_problem(error)}") from error
        raise BadInputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _first_problem(error: ValidationError) -> str:
    # A misspelt key is also a missing one; the misspelling says more.
    problems = error.errors(include_url=False)
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"]) or "the document"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"


def _part(project: Project, part: Literal["model", "source"]) -> Path:
    path: Path = getattr(project.files, part)
    if not path.is_file():
        raise BadInputError(f"project '{project.name}' has no {part}.py ({path})")
    return path


def load_code(project: Project, part: Literal["model", "source"] = "model") -> ModuleType:
    """Run a project's model.py or source.py; BadInputError when there is none or it fails."""
    path = _part(project, part)
    # A name that Python could import: `-` is not in one, and no other project has it with `_`.
    module_name = f"{MODULES}{project.name.replace('-', '_')}_{part}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise BadInputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    with users_code(f"{path} does not import"):
        spec.loader.exec_module(module)
    return module
