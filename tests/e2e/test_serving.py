"""Roll-outs on the cluster, with callers that never stop."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from k8s.access import Airflow, kubectl
from k8s.stage_pod import ending_of
from tests.budget import budget
from tests.e2e.parcels import TIMEOUT_S, Callers, Parcels, started
from tests.e2e.release import REPO, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.budget(25)]


@pytest.fixture(scope="module")
@budget(25)
def parcels(client: Airflow) -> Iterator[Parcels]:  # noqa: ARG001 - it gives the project its users
    """A project whose version 1 serves."""
    made = Parcels()
    try:
        first = made.register(seed=0)
        done = made.roll_out(first)
        assert done.phase == "Succeeded", done.log
        assert done.result["status"] == "done"
        assert done.result["version"] == first
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
@budget(10)
def callers(parcels: Parcels) -> Iterator[Callers]:
    with parcels.callers() as callers:
        yield callers


def _assert_none_failed(callers: Callers) -> None:
    report = callers.settled()
    assert report["failed"] == 0, report["failures"]


def test_a_version_takes_over_without_a_failed_request(parcels: Parcels, callers: Callers) -> None:
    first = parcels.aliases()["champion"]
    version = parcels.register(seed=1)
    done = parcels.roll_out(version)
    assert done.phase == "Succeeded", done.log
    assert parcels.answering() == version
    assert parcels.aliases() == {"champion": version, "previous": first}
    assert parcels.tags(version)["slipway.rollout"] == "done"
    assert version in callers.settled()["versions"]
    _assert_none_failed(callers)


def test_the_champion_again_changes_nothing(parcels: Parcels) -> None:
    before = {kind: parcels.objects(kind) for kind in ("deployment", "service", "pdb")}
    done = parcels.roll_out(parcels.aliases()["champion"])
    assert (done.phase, done.result["status"]) == ("Succeeded", "skipped")
    for kind, objects in before.items():
        now = parcels.objects(kind)
        for name, found in objects.items():
            assert now[name]["spec"] == found["spec"]
            # A status that is written anew counts up the resource version, and nothing else.
            kept = {k: v for k, v in found["metadata"].items() if k != "resourceVersion"}
            assert kept.items() <= now[name]["metadata"].items()


def test_a_model_that_can_not_load_never_becomes_champion(
    parcels: Parcels, callers: Callers
) -> None:
    before, answering = parcels.aliases(), parcels.answering()
    bad = parcels.register(seed=3, spoiled=True)
    began = time.monotonic()
    done = parcels.roll_out(bad)
    assert done.phase == "Failed"
    assert time.monotonic() - began < 120  # noticed, not timed out
    assert "does not repeat its own predictions" in done.result["error"]
    assert done.result["error"].endswith(f"version {answering} keeps answering")
    assert "Traceback" not in done.log
    assert parcels.aliases() == before
    assert parcels.answering() == answering
    assert parcels.tags(bad)["slipway.rollout"] == "failed"
    assert "own predictions" in parcels.tags(bad)["slipway.rollout_reason"]
    sides = parcels.objects("deployment").values()
    replicas = {
        d["metadata"]["labels"]["slipway.dev/version"]: d["spec"]["replicas"] for d in sides
    }
    assert replicas[bad] == 0
    assert replicas[answering] > 0
    _assert_none_failed(callers)


@pytest.mark.budget(50)
def test_a_killed_roll_out_is_finished_by_the_next_try(parcels: Parcels, callers: Callers) -> None:
    """It is the third to serve: deployed over the side on which the first ran, whose pods stop."""
    version = parcels.register(seed=4)
    first = parcels.start_roll_out(version)
    _wait_for_log(first, "deploying version")
    kubectl("delete", "pod", first, "--grace-period=0", "--force")
    done = parcels.roll_out(version)
    assert done.phase == "Succeeded", done.log
    assert parcels.answering() == version
    assert parcels.aliases()["champion"] == version
    _assert_none_failed(callers)


def test_rolling_back_takes_seconds_and_fails_no_request(
    parcels: Parcels, callers: Callers
) -> None:
    before = parcels.aliases()
    done = _rollback(parcels, "REASON=it drifts")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        f"users of {parcels.project} get version {before['previous']} again"
    )
    assert parcels.answering() == before["previous"]
    first = min(parcels.records, key=int)
    assert parcels.aliases() == {"champion": before["previous"], "previous": first}
    assert parcels.tags(before["champion"])["slipway.taken_back"].endswith(": it drifts")
    _assert_none_failed(callers)


@pytest.mark.budget(75)
def test_a_second_roll_back_redeploys_the_version_before_and_a_third_finds_none(
    parcels: Parcels, callers: Callers
) -> None:
    """The side of the first version holds the one that was taken back."""
    first = min(parcels.records, key=int)
    done = _rollback(parcels)
    assert done.returncode == 0, done.stderr
    assert (parcels.answering(), parcels.aliases()) == (first, {"champion": first})
    _assert_none_failed(callers)
    none = _rollback(parcels)
    assert none.returncode != 0
    assert f"error: version {first} of {parcels.project} stays: there is no version" in none.stderr


@pytest.mark.budget(60)
def test_what_was_taken_back_is_refused_until_it_is_given_back(parcels: Parcels) -> None:
    champion = parcels.aliases()["champion"]
    taken = max(v for v in parcels.records if "slipway.taken_back" in parcels.tags(v))
    refused = parcels.roll_out(taken)
    assert (refused.phase, refused.result["status"]) == ("Succeeded", "refused")
    assert "it was taken back" in refused.result["reason"]
    assert parcels.answering() == champion
    given = _rollback(parcels, f"GIVE_BACK={taken}")
    assert given.returncode == 0, given.stderr
    assert parcels.roll_out(taken).result["status"] == "done"
    assert parcels.aliases() == {"champion": taken, "previous": champion}


def _rollback(parcels: Parcels, *variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "rollback", f"PROJECT={parcels.project}", *variables]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


def test_two_roll_outs_at_once_take_turns(parcels: Parcels, callers: Callers) -> None:
    versions = [parcels.register(seed) for seed in (6, 7)]
    pods = [parcels.start_roll_out(version) for version in versions]
    phases = [ending_of(pod, TIMEOUT_S).phase for pod in pods]
    assert "Succeeded" in phases
    champion = parcels.aliases()["champion"]
    assert champion in versions
    assert parcels.answering() == champion
    _assert_none_failed(callers)


def test_objects_belong_to_the_chart_s_template(parcels: Parcels) -> None:
    for kind in ("deployment", "service", "pdb"):
        for found in parcels.objects(kind).values():
            (owner,) = found["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["name"]) == ("ConfigMap", "slipway-serving-template")


def _wait_for_log(pod: str, words: str) -> None:
    started(pod)
    wait_until(f"{pod} to say {words!r}", lambda: words in kubectl("logs", pod), 180, poll_s=0.3)
