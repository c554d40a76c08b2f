"""Trainings on the cluster: past days at once, labels that teach nothing, fused stages."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from k8s.access import Airflow
from tests.e2e.release import alias, pods, records, tags, version_answering, versions
from tests.e2e.runs import STAGES, TASK_OF, TRAINING, Run, backfill, wait_until_known
from tests.e2e.scenes import scene

pytestmark = [pytest.mark.e2e, pytest.mark.budget(5)]

FUSED, DEALT = "parcels_fused", "parcels_dealt"
DAYS = FIRST, *_, LAST = ("2013-03-05", "2013-03-06", "2013-03-07")
REPLACED = "has become champion since it was compared: run its day again"


@dataclass(frozen=True)
class Backfilled:
    """The run of each day, and of those whose roll-out was refused another."""

    days: list[Run]
    again: list[Run]

    @property
    def newest(self) -> Run:
        """The run of the last day that was rolled out."""
        return self.again[-1] if refused(self.days[-1]) else self.days[-1]


def refused(run: Run) -> bool:
    """Tell whether roll_out refused what the gate had let through."""
    return run.states["keep_champion"] == run.states["deployment.roll_out"] == "skipped"


@scene(250)
def backfilled(client: Airflow) -> Backfilled:
    """Three days at once; what was compared with a champion that was replaced is run again."""
    wait_until_known(client, FUSED, [TRAINING])
    runs = backfill(client, TRAINING, FIRST, LAST, {"project": FUSED})
    late = [day for day, run in zip(DAYS, runs, strict=True) if refused(run.green())]
    again = [Run.start(client, TRAINING, day, FUSED).green() for day in late]
    return Backfilled(runs, again)


@scene(250)
def dealt(client: Airflow) -> tuple[Run, Run]:
    """A day of labels dealt out at random, trained twice."""
    wait_until_known(client, DEALT, [TRAINING])
    one, other = (Run.start(client, TRAINING, FIRST, DEALT).green() for _ in range(2))
    return one, other


def test_a_backfill_of_three_days_at_once_is_three_datasets(backfilled: Backfilled) -> None:
    datasets = {run.records()[TASK_OF["split"]][0] for run in backfilled.days}
    assert len(datasets) == 3
    trained = [tags(version)["slipway.as_of"] for version in versions(FUSED)]
    assert sorted(trained) == [*DAYS]


def test_a_backfilled_day_is_refused_only_when_another_became_champion_meanwhile(
    backfilled: Backfilled,
) -> None:
    late = [run for run in backfilled.days if refused(run)]
    assert len(backfilled.again) == len(late) < len(DAYS)
    for run in late:
        assert REPLACED in run.log("deployment.roll_out")
        assert REPLACED in run.result("deployment.roll_out")["reason"]


def test_the_newest_day_of_a_backfill_serves_in_the_end(backfilled: Backfilled) -> None:  # noqa: ARG001
    champion = alias(FUSED, "champion")
    (found,) = [tags(one) for one in versions(FUSED) if one["version"] == champion]
    assert (found["slipway.as_of"], found["slipway.rollout"]) == (LAST, "done")
    assert version_answering(FUSED) == champion


def test_fused_stages_share_two_pods(backfilled: Backfilled) -> None:
    started = backfilled.days[0].pods_by_stage()
    assert started == {"ingest": 1, "train": 1, "roll_out": 1}
    handed = backfilled.days[0].results()
    for stage in STAGES:
        assert [value["stage"] for value in handed[TASK_OF[stage]]] == [stage]


@pytest.mark.budget(40)
def test_clearing_a_fused_stage_starts_no_pod_for_what_was_done(backfilled: Backfilled) -> None:
    run = backfilled.newest
    before = run.pods_by_stage()
    run.clear(TASK_OF["register"])
    run.green()
    after = run.pods_by_stage()
    for stage in STAGES:
        assert after.get(stage) == before.get(stage)


def test_labels_dealt_at_random_are_refused_and_nothing_is_deployed(dealt: tuple[Run, Run]) -> None:
    assert dealt[0].states["deployment.roll_out"] == "skipped"
    assert dealt[0].result("keep_champion")["decision"] == "refuse"
    (version,) = versions(DEALT)
    assert tags(version)["slipway.decision"] == "refuse"
    assert tags(version)["slipway.reason"]
    assert alias(DEALT, "champion") is None
    assert not pods(f"app.kubernetes.io/component=serving,slipway.dev/project={DEALT}")


def test_the_same_day_twice_is_one_dataset_and_one_version(dealt: tuple[Run, Run]) -> None:
    once, again = (run.results() for run in dealt)
    for stage in STAGES:
        (first,), (second,) = once[TASK_OF[stage]], again[TASK_OF[stage]]
        assert (first["status"], second["status"]) == ("done", "skipped"), stage
        assert second["record"] == first["record"], stage
        assert len(records(DEALT, stage, FIRST)) == 1, stage
    assert len(versions(DEALT)) == 1
