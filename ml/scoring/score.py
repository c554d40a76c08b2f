"""score: the champion's predictions for whole days, one published file a day.

A day's features are the ones that training uses: built by the same code, kept in the same place.
Rows that break the project's rules are counted with the reason and left out.
"""

import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from ml.core.errors import BadInputError, failure
from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, once, publish, read_outputs, read_record
from ml.core.project import Project, read_project
from ml.core.record import Fact, Output, Record, Result, Status
from ml.core.store import sha256
from ml.core.tables import from_parquet, to_parquet
from ml.data.daily_features import ID, build_day, recipe_of
from ml.data.frames import as_rows, missing, unfit
from ml.data.landing import landed
from ml.data.proofs import is_proven
from ml.data.raw import take
from ml.data.recipe import project_of
from ml.data.sift import Fault, Sifted, separate, sift
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.inputs import INFINITE, MISSING
from ml.serving.manifest import ArtifactManifest, Column
from ml.serving.predictors import Predictor, load
from ml.serving.refusals import Refusal, ask
from ml.stages import Stage

BATCH_ROWS = 20_000
# A result has 1 KiB for everything; the record keeps every reason.
TOLD_REASONS = 5
OTHER = "other reasons"
# What a user's estimator says may differ with every row.
MOST_REASONS = 50
SCHEMA = {
    ID: pl.String(),
    "score": pl.Float64(),
    "model_version": pl.String(),
    "model_sha256": pl.String(),
    "as_of": pl.Date(),
}


@dataclass(frozen=True)
class PinnedModel:
    """The pinned version, loaded when the first row needs it."""

    version: str
    sha256: str
    artifact: str
    recipe: str = ""

    @classmethod
    def pinned(cls, record: Record) -> "PinnedModel":
        """Take the version that pin_champion wrote down."""
        facts = record.facts
        version, sha256, artifact = (str(facts[n]) for n in ("version", "sha256", "artifact"))
        return cls(version, sha256, artifact, str(facts.get("recipe", "")))

    @property
    def manifest(self) -> ArtifactManifest:
        """What stands beside the model file."""
        return self._loaded[0]

    @property
    def predictor(self) -> Predictor:
        """The model itself, exactly as the model server loads it."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[ArtifactManifest, Predictor]:
        try:
            manifest, content = fetch(self.artifact, self.sha256)
            return manifest, load(manifest, content)
        except ArtifactError as error:
            sentence = f"version {self.version} can't be scored with: {error}"
            raise failure(sentence, passing=error.passing) from error


@dataclass
class Tally:
    """What became of a day's rows."""

    rows: int = 0
    total: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, scores: list[float]) -> None:
        """Count scored rows."""
        self.rows += len(scores)
        self.total += math.fsum(scores)

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Count rows that the model did not score, by its reasons while these are few."""
        for refusal in refusals:
            few = len(self.reasons) < MOST_REASONS or str(refusal) in self.reasons
            self.reasons[str(refusal) if few else OTHER] += 1

    @property
    def facts(self) -> dict[str, Any]:
        """The counts, as a record holds them."""
        return {
            "rows": self.rows,
            "mean_score": mean(self.total, self.rows),
            "refused": self.reasons.total(),
            "reasons": dict(self.reasons.most_common()),
        }


def run(job: Job) -> Result:
    """Score the days up to the job's, one by default, with the version that is upstream."""
    today = read_project(job.project, job.settings.projects_path)
    model = PinnedModel.pinned(_pin(job))
    days = [job.as_of - timedelta(days=back) for back in reversed(range(job.days or 1))]
    landed(job, days)  # a day that is missing is told before any is scored
    with project_of(job.stores.models, model.recipe, today) as project:
        results = [_score_told(replace(job, as_of=day), project, model, today) for day in days]
    return in_short(results)


def _score_told(job: Job, project: Project, model: PinnedModel, today: Project) -> Result:
    """Score a day; of what is wrong with it, say when it is a recipe of before that stumbles."""
    try:
        return score_day(job, project, model)
    except BadInputError as error:
        if recipe_of(project) == recipe_of(today):
            raise
        raise BadInputError(
            f"{error} (version {model.version} is scored by the recipe that it was trained by, "
            "not by today's model.py and project.yaml)"
        ) from error


def _pin(job: Job) -> Record:
    if job.upstream is None:
        raise BadInputError(
            "--upstream is missing: give the record URI that pin_champion printed, "
            "so that every day is scored with the same version"
        )
    record = read_record(job.stores.data, job.upstream)
    if (record.stage, record.project) != (Stage.PIN_CHAMPION, job.project):
        raise BadInputError(
            f"{job.upstream} is a record of {record.stage} for {record.project}, "
            f"but {Stage.PIN_CHAMPION} for {job.project} was asked for"
        )
    return record


def score_day(job: Job, project: Project, model: PinnedModel) -> Result:
    """Score one day, unless this version has scored the same data already."""
    files = take(job, project.spec, job.as_of)
    key = fingerprint(
        stage=Stage.SCORE,
        files={table: output.sha256 for table, output in files.items()},
        rules={name: table.model_dump() for name, table in project.spec.tables.items()},
        features=recipe_of(project),
        model=model.sha256,
        version=model.version,
        code=code_digest(__name__),
        versions=versions("polars", "onnxruntime"),
    )

    def work(folder: str) -> Outcome:
        if not files[project.spec.main_table].rows:
            return _nothing_happened(job, model, folder)
        good, tally, left_out = sift_day(job, project, files)
        features = build_day(job, project, str(job.as_of), good)
        (content,) = read_outputs(job, Stage.BUILD_FEATURES, [features])
        scored = score(model, content, job.as_of, tally)
        if not tally.rows:
            raise BadInputError(f"no row of {job.as_of} can be scored: {_text(tally.reasons)}")
        if tally.reasons:
            log.warning("refused %d rows: %s", tally.reasons.total(), _text(tally.reasons))
        output = publish(job.stores.data, folder, "predictions.parquet", scored, tally.rows)
        facts = {"version": model.version, "sha256": model.sha256, "recipe": model.recipe}
        facts |= {"features": features.uri} | tally.facts | {"left_out": left_out}
        return Outcome({"predictions": output}, facts)

    return once(job, Stage.SCORE, key, work)


def _nothing_happened(job: Job, model: PinnedModel, folder: str) -> Outcome:
    """Publish the predictions of a day without rows: none."""
    log.info("nothing happened on %s, so there is nothing to score", job.as_of)
    content = to_parquet(pl.DataFrame(schema=SCHEMA))
    output = publish(job.stores.data, folder, "predictions.parquet", content, 0)
    facts = {"version": model.version, "sha256": model.sha256, "recipe": model.recipe}
    facts |= {"features": ""} | Tally().facts | {"left_out": {}}
    return Outcome({"predictions": output}, facts)


def sift_day(
    job: Job, project: Project, files: dict[str, Output]
) -> tuple[dict[str, Output], Tally, dict[str, int]]:
    """Return files without bad rows, the refused rows, and what was left out of other tables.

    A day that validate has passed is taken as it is, unread.
    """
    tally, left_out = Tally(), Counter[str]()
    if is_proven(job, project.spec, files):
        return files, tally, left_out
    good: dict[str, Output] = {}
    for name, output in files.items():
        (content,) = read_outputs(job, Stage.INGEST, [output])
        told = f"table '{name}' of {job.as_of}"
        frame = from_parquet(content, told)
        later = project.spec.known_later.get(name, [])
        sifted = sift(project.spec.tables[name], frame, told, later)
        if name == project.spec.main_table:
            tally.reasons.update(sifted.reasons)
        else:
            left_out.update({f"{name}: {why}": n for why, n in sifted.reasons.items()})
        good[name] = output if sifted.frame.equals(frame) else _kept(job, name, sifted.frame)
    if not good[project.spec.main_table].rows:
        raise BadInputError(f"no row of {job.as_of} can be scored: {_text(tally.reasons)}")
    return good, tally, dict(left_out)


def _kept(job: Job, table: str, frame: pl.DataFrame) -> Output:
    """Keep a table's good rows beside the landed files, named like them by their digest."""
    content = to_parquet(frame)
    path = f"{job.project}/raw/{table}/{sha256(content)}.parquet"
    job.stores.data.create(path, content)
    return Output(
        uri=job.stores.data.uri(path),
        sha256=sha256(content),
        bytes=len(content),
        rows=frame.height,
    )


def score(model: PinnedModel, features: bytes, as_of: date, tally: Tally) -> bytes:
    """Score a features file batch by batch, into the bytes of the predictions file."""
    table = pl.scan_parquet(io.BytesIO(features))
    _check_columns(model, table.collect_schema())

    def batches(*_: object) -> Iterator[pl.DataFrame]:
        for batch in table.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            yield _scored(model, batch, as_of, tally)

    # Only a batch at a time is unpacked; the rest is compressed, before it and after it.
    buffer = io.BytesIO()
    register_io_source(batches, schema=SCHEMA).sink_parquet(buffer)
    return buffer.getvalue()


def _check_columns(model: PinnedModel, schema: pl.Schema) -> None:
    if trouble := unfit(schema, model.manifest.columns):
        whose = "the features of its own recipe" if model.recipe else "today's features"
        raise BadInputError(
            f"version {model.version} can't look at {whose}: {trouble}; train and deploy anew first"
        )


def _scored(model: PinnedModel, batch: pl.DataFrame, as_of: date, tally: Tally) -> pl.DataFrame:
    sifted = servable(batch, model.manifest.columns)
    tally.reasons.update(sifted.reasons)
    rows = as_rows(sifted.frame, model.manifest.columns)
    answers = ask(model.predictor, rows, known=next(iter(model.manifest.sample), None))
    tally.refuse(answers.refusals)
    scored = sifted.frame.select(
        pl.col(ID).cast(pl.String),
        pl.Series("score", answers.scores, dtype=pl.Float64),
        pl.lit(model.version).alias("model_version"),
        pl.lit(model.sha256).alias("model_sha256"),
        pl.lit(as_of).alias("as_of"),
    ).filter(pl.col("score").is_not_nan())
    tally.add(scored["score"].to_list())
    return scored


def servable(frame: pl.DataFrame, columns: list[Column]) -> Sifted:
    """Separate the rows that the model server would take from those it would refuse."""
    needed = [c.name for c in columns if not c.nullable]
    floats = [c.name for c in columns if c.type == "float"]
    faults: list[Fault] = [(f"{name} {MISSING}", missing(frame[name])) for name in needed]
    faults += [(f"{name} {INFINITE}", pl.col(name).is_infinite()) for name in floats]
    return separate(frame, faults)


def in_short(results: list[Result]) -> Result:
    """Add up what several days told; the record is the last day's."""
    told: list[dict[str, Any]] = [result.facts for result in results]
    rows = sum(facts["rows"] for facts in told)
    total = math.fsum(facts["mean_score"] * facts["rows"] for facts in told if facts["rows"])
    reasons = sum((Counter(facts["reasons"]) for facts in told), Counter[str]())
    facts: dict[str, Fact] = {
        "version": told[-1]["version"],
        "days": len(results),
        "rows": rows,
        "mean_score": mean(total, rows),
        "refused": reasons.total(),
        "reasons": shortened(reasons),
    }
    statuses = {result.status for result in results}
    status = results[-1].status if len(statuses) == 1 else Status.DONE
    return results[-1].model_copy(update={"facts": facts, "status": status})


def mean(total: float, rows: int) -> float | None:
    """Return the mean of scores to six digits; None when there is none."""
    return round(total / rows, 6) if rows else None


def shortened(reasons: Counter[str]) -> dict[str, int]:
    """Keep the most frequent reasons, and count the rest together."""
    often = {reason[:60]: count for reason, count in reasons.most_common(TOLD_REASONS)}
    rest = reasons.total() - sum(often.values())
    return often | ({OTHER: rest} if rest else {})


def _text(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} ({count})" for reason, count in shortened(reasons).items())
