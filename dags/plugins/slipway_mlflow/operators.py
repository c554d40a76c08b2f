"""Operators that write to MLflow's model registry: register, promote and tag versions.

Each may be run again: what is done already is found, and left as it is. Each returns `model`,
`version` and `run_id`, which Airflow's UI turns into links.

    registered = MlflowRegisterVersionOperator(
        task_id="register", model="flights", run_id="{{ params.run_id }}", source="models:/m-1f..."
    )
    MlflowPromoteOperator(
        task_id="promote",
        model="flights",
        version="{{ ti.xcom_pull(task_ids='register')['version'] }}",
        metric="auc",
    )
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from slipway_mlflow.api import (
    READY,
    ModelVersion,
    Question,
    find_alias,
    find_metrics,
    find_version,
    register,
    set_alias,
    set_tags,
)
from slipway_mlflow.hook import MlflowHook
from slipway_mlflow.links import ModelVersionLink, RunLink


class PromotionOutcome(StrEnum):
    """How a promotion ended."""

    PROMOTED = "promoted"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class OnRefusal(StrEnum):
    """What a task does when it does not promote: succeed and say so, skip, or fail."""

    RETURN = "return"
    SKIP = "skip"
    FAIL = "fail"


class MlflowOperator(BaseOperator):
    """The parent of the operators below.

    :param model: the registered model (templated)
    :param mlflow_conn_id: the Airflow connection of type `mlflow`
    """

    ui_color = "#d8e6f3"
    operator_extra_links = (RunLink(), ModelVersionLink())

    def __init__(
        self, *, model: str, mlflow_conn_id: str = MlflowHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.mlflow_conn_id = mlflow_conn_id

    @property
    def hook(self) -> MlflowHook:
        """Return the connection to MLflow."""
        return MlflowHook(self.mlflow_conn_id)


class MlflowRegisterVersionOperator(MlflowOperator):
    """Register what a run has logged as a version of a model, which is created if need be.

    The same `source` is registered once: a second time returns the version that is there.

    :param source: the model's address, `models:/m-...` of a logged model or an artifact's URI under
        the run (templated)
    :param run_id: the run it comes from; MLflow asks for it unless the source names it (templated)
    :param tags: tags of the version, written when it is made (templated)
    :param description: a sentence about the version (templated)
    """

    template_fields = ("model", "source", "run_id", "tags", "description")

    def __init__(
        self,
        *,
        source: str,
        run_id: str | None = None,
        tags: Mapping[str, object] | None = None,
        description: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.run_id = run_id
        self.tags = dict(tags or {})
        self.description = description

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Register, or find what is registered already."""
        tags = {key: str(value) for key, value in self.tags.items()}
        question = register(self.model, self.source, self.run_id, tags, self.description)
        version = self.hook.ask(question)
        self.log.info("version %s of %s is %s", version.version, self.model, self.source)
        return _named(version)


class MlflowTagVersionOperator(MlflowOperator):
    """Write tags on a version of a model.

    :param tags: the tags; one that is there gets the new value (templated)
    :param version: the version (templated)
    :param alias: the alias that names the version, instead of its number (templated)
    """

    template_fields = ("model", "version", "alias", "tags")

    def __init__(
        self,
        *,
        tags: Mapping[str, object],
        version: str | None = None,
        alias: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (version is None) == (alias is None):
            raise ValueError(f"{self.task_id}: give either `version` or `alias`")
        self.tags = dict(tags)
        self.version = version
        self.alias = alias

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Write the tags; fails when there is no such version."""
        version = self.hook.ask(self._tag())
        self.log.info("tagged version %s of %s", version.version, self.model)
        return _named(version)

    def _tag(self) -> Question[ModelVersion]:
        number = self.version
        if self.alias is not None:
            number = yield from find_alias(self.model, self.alias)
            if number is None:
                raise AirflowFailException(f"no version of {self.model} is {self.alias}")
        version = yield from existing(self.model, str(number))
        tags = {key: str(value) for key, value in self.tags.items()}
        yield from set_tags(self.model, version.version, tags)
        return version


@dataclass(frozen=True)
class Promotion:
    """How a candidate compared with the version that an alias names, and what came of it."""

    model: str
    version: str
    run_id: str
    decision: PromotionOutcome
    reason: str
    candidate_score: float | None = None
    champion_score: float | None = None
    champion_version: str | None = None


class MlflowPromoteOperator(MlflowOperator):
    """Give an alias to a version whose metric is better than that of the version which has it.

    Both metrics are read from the runs the versions come from, so they must have been measured on
    the same data. Without a champion the candidate only has to be `at_least` good enough.

    :param version: the candidate (templated)
    :param metric: the metric that decides (templated)
    :param alias: the alias to move
    :param previous_alias: the alias that the version before gets; None for none
    :param higher_is_better: false for a loss or an error
    :param min_gain: how much better the candidate must be, more than this
    :param at_least: the worst value that may be promoted at all
    :param on_refusal: `return` ends well and returns `decision: refused`, `skip` skips this task
        and with it those after, `fail` fails it for good
    """

    template_fields = ("model", "version", "metric")

    def __init__(
        self,
        *,
        version: str,
        metric: str,
        alias: str = "champion",
        previous_alias: str | None = "previous",
        higher_is_better: bool = True,
        min_gain: float = 0.0,
        at_least: float | None = None,
        on_refusal: OnRefusal | str = OnRefusal.RETURN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.metric = metric
        self.alias = alias
        self.previous_alias = previous_alias
        self.higher_is_better = higher_is_better
        self.min_gain = min_gain
        self.at_least = at_least
        self.on_refusal = str(OnRefusal(on_refusal))

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Compare, then move the alias or leave it; return both scores and the reason."""
        done = self.hook.ask(self._promote())
        self.log.info("%s: %s", done.decision, done.reason)
        if done.decision is PromotionOutcome.REFUSED and self.on_refusal != OnRefusal.RETURN:
            skips = self.on_refusal == OnRefusal.SKIP
            sentence = f"version {done.version} of {self.model} was not promoted: {done.reason}"
            raise (AirflowSkipException if skips else AirflowFailException)(sentence)
        return {**asdict(done), "decision": str(done.decision)}

    def _promote(self) -> Question[Promotion]:
        candidate = yield from existing(self.model, str(self.version))
        if candidate.status != READY:
            raise AirflowException(
                f"version {candidate.version} of {self.model} is {candidate.status}, not {READY}"
            )
        current = yield from find_alias(self.model, self.alias)
        if current == candidate.version:
            reason = f"version {current} is {self.alias} already"
            return self._end(candidate, PromotionOutcome.UNCHANGED, reason)
        return (yield from self._compare(candidate, current))

    def _compare(self, candidate: ModelVersion, current: str | None) -> Question[Promotion]:
        score, rival = (yield from self._score(candidate)), None
        if current is not None:
            rival = yield from self._score((yield from existing(self.model, current)))
        scores = {"candidate_score": score, "champion_score": rival, "champion_version": current}
        objection = self._too_bad(score) or self._no_better(score, rival)
        if objection:
            return self._end(candidate, PromotionOutcome.REFUSED, objection, **scores)
        if current is not None and self.previous_alias is not None:
            yield from set_alias(self.model, self.previous_alias, current)
        # Last, as others go by it: whoever sees it move finds everything else in place.
        yield from set_alias(self.model, self.alias, candidate.version)
        before = "none" if rival is None else f"{rival:g}"
        reason = f"{self.metric} is {score:g}, that of the {self.alias} before {before}"
        return self._end(candidate, PromotionOutcome.PROMOTED, reason, **scores)

    def _score(self, version: ModelVersion) -> Question[float]:
        metrics = (yield from find_metrics(version.run_id)) if version.run_id else {}
        score = metrics.get(self.metric, math.nan)
        if math.isnan(score):
            raise AirflowFailException(
                f"version {version.version} of {self.model} cannot be compared: "
                f"its run {version.run_id or '(none)'} has no number for {self.metric}"
            )
        return score

    def _too_bad(self, score: float) -> str:
        if self.at_least is None or self._gain(score, self.at_least) >= 0:
            return ""
        limit = "at least" if self.higher_is_better else "at most"
        return f"{self.metric} is {score:g}, {limit} {self.at_least:g} is asked"

    def _no_better(self, score: float, rival: float | None) -> str:
        if rival is None or self._gain(score, rival) > self.min_gain:
            return ""
        return (
            f"{self.metric} is {score:g}, that of the {self.alias} {rival:g}: "
            f"not better by more than {self.min_gain:g}"
        )

    def _gain(self, score: float, other: float) -> float:
        return score - other if self.higher_is_better else other - score

    def _end(
        self, candidate: ModelVersion, decision: PromotionOutcome, reason: str, **scores: Any
    ) -> Promotion:
        return Promotion(
            self.model, candidate.version, candidate.run_id, decision, reason, **scores
        )


def existing(model: str, number: str) -> Question[ModelVersion]:
    """Ask for a version that must exist; AirflowFailException when it does not."""
    version = yield from find_version(model, number)
    if version is None:
        raise AirflowFailException(f"there is no version {number} of {model} in MLflow")
    return version


def _named(version: ModelVersion) -> dict[str, Any]:
    return {"model": version.model, "version": version.version, "run_id": version.run_id}
