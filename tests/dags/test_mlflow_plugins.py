"""The MLflow hook, operators, sensors and triggers against a real server that asks for a login.

They work as the user `stages`, who has the rights that the chart gives: to read what is there and
to create. MLflow answers such a user 403, not 404, to a question about what does not exist.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from adapter.gate.approval import Approval
from airflow.sdk import Connection
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from custom_sensors import (
    MlflowAliasSensor,
    MlflowMetricSensor,
    MlflowModelVersionSensor,
    MlflowSensor,
    MlflowTrigger,
)
from mlflow_operator import (
    MlflowTagVersionOperator,
)
from slipway_mlflow.api import find_alias, find_version, list_versions
from slipway_mlflow.conditions import stored
from slipway_mlflow.hook import (
    MlflowHook,
    MlflowRefusedError,
    MlflowUnreachableError,
    Server,
)

from tests.dags.mlflow_bench import MlflowBench, bench, server
from tests.mlflow_server import connect, free_port

__all__ = ["bench", "server"]  # fixtures

NEVER = "an-id-that-no-run-has"


def event_of(trigger: MlflowTrigger) -> dict[str, Any]:
    """Run a trigger as the triggerer does, from its stored form."""
    path, kwargs = trigger.serialize()
    assert path == "slipway_mlflow.sensors.MlflowTrigger"
    again = MlflowTrigger(**json.loads(json.dumps(kwargs)))

    async def collect() -> list[dict[str, Any]]:
        return [dict(event.payload) async for event in again.run()]

    (event,) = asyncio.run(collect())
    return event


def waited(sensor: MlflowSensor, meanwhile: Callable[[], object]) -> dict[str, Any]:
    """Have a sensor defer, change something while its trigger runs, and return its result."""
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    trigger = deferred.value.trigger
    assert isinstance(trigger, MlflowTrigger)
    later = threading.Timer(0.3, meanwhile)
    later.start()
    event = event_of(trigger)
    later.join()
    result: dict[str, Any] = sensor.execute_complete({}, event)
    return result


QUICKLY: dict[str, Any] = {"poke_interval": 0.1, "timeout": 30}


def test_hook_is_the_connection_types_own(bench: MlflowBench) -> None:
    assert MlflowHook.get_hook("mlflow").ask(find_alias(bench.model, "champion")) is None


def test_connection_is_tested_with_its_login(
    bench: MlflowBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, said = MlflowHook().test_connection()
    assert (good, said) == (True, f"MLflow at {bench.url} answers the user `stages`")
    connect(monkeypatch, bench.url, password="not this one")
    good, said = MlflowHook().test_connection()
    assert not good
    assert "does not take the login of `stages`: correct the connection `mlflow`" in said


def test_name_that_the_server_does_not_answer_to_is_told(
    bench: MlflowBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loopback by a name that MLflow does not expect to be called by.
    connect(monkeypatch, bench.url.replace("127.0.0.1", "2130706433"))
    good, said = MlflowHook().test_connection()
    assert not good
    assert "does not answer to the name in http://2130706433:" in said
    assert said.endswith("add it to the server's allowed hosts")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("", "names no host of MLflow"),
        ("two words", "is no address"),
        ("user@host", "is no address"),
    ],
)
def test_host_that_is_none_is_told(host: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW", json.dumps({"conn_type": "mlflow", "host": host}))
    good, sentence = MlflowHook().test_connection()
    assert not good
    assert said in sentence


@pytest.mark.parametrize(
    ("fields", "auth", "header"),
    [
        ({"login": "me", "password": "a b"}, ("me", "a b"), None),
        ({"password": "a-token"}, None, "Bearer a-token"),
        ({"host": "https://me:a%20b@mlflow.example.org/path"}, ("me", "a b"), None),
        ({}, None, None),
    ],
    ids=["user and password", "token", "in the address", "none"],
)
def test_every_way_to_log_in_is_known(
    fields: dict[str, str], auth: tuple[str, str] | None, header: str | None
) -> None:
    where = {"host": "https://mlflow.example.org/path"}
    named: dict[str, Any] = where | fields
    server = Server.of(Connection(conn_id="mlflow", conn_type="mlflow", **named))
    assert server.url == "https://mlflow.example.org/path"
    assert server.options.get("auth") == auth
    assert server.options.get("headers", {}).get("Authorization") == header


def test_dead_server_is_one_sentence_and_worth_another_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    connect(monkeypatch, url)
    with pytest.raises(
        MlflowUnreachableError, match=f"^MLflow at {url} does not answer: "
    ) as failed:
        MlflowBench(url, "m").promote("1").execute({})
    assert not isinstance(failed.value, AirflowFailException)


def test_registering_again_finds_the_version(bench: MlflowBench) -> None:
    run_id = bench.run()
    first = bench.register(run_id, tags={"day": "2013-03-01"}, description="a day").execute({})
    assert first == {"model": bench.model, "version": "1", "run_id": run_id}
    assert bench.register(run_id).execute({}) == first
    version = MlflowHook().ask(find_version(bench.model, "1"))
    assert version is not None
    assert version.tags == {"day": "2013-03-01"}
    assert bench.register(bench.run()).execute({})["version"] == "2"


def test_two_that_register_at_once_get_one_version(bench: MlflowBench) -> None:
    run_id = bench.run()
    bench.register(bench.run()).execute({})  # so that both find the model
    got: list[dict[str, Any]] = []
    both = [
        threading.Thread(target=lambda: got.append(bench.register(run_id).execute({})))
        for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(got) == 2
    assert len(MlflowHook().ask(list_versions(bench.model, run_id=run_id))) == 1


def test_source_outside_the_run_is_refused(bench: MlflowBench) -> None:
    register = bench.register(bench.run())
    register.source = "mlflow-artifacts:/99/someone/elses/model"
    with pytest.raises(MlflowRefusedError, match="Invalid model version source"):
        register.execute({})


def test_tags_are_written_and_overwritten(bench: MlflowBench) -> None:
    version = bench.version()
    bench.name("champion", version)
    for tags in ({"a": "1", "b": 2}, {"a": "3"}):
        MlflowTagVersionOperator(
            task_id="tag", model=bench.model, alias="champion", tags=tags
        ).execute({})
    found = MlflowHook().ask(find_version(bench.model, version))
    assert found is not None
    assert found.tags == {"a": "3", "b": "2"}


def test_persons_answer_is_noted_on_the_version(bench: MlflowBench) -> None:
    version = bench.version()
    Approval(bench.model, version, False, "ada", "ada rejected it: Friday").keep()
    found = MlflowHook().ask(find_version(bench.model, version))
    assert found is not None
    assert found.tags == {
        "slipway.approval": "rejected",
        "slipway.approval_by": "ada",
        "slipway.approval_reason": "ada rejected it: Friday",
    }


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ({"version": "9"}, "there is no version 9 of"),
        ({"alias": "champion"}, "is champion"),
    ],
)
def test_tagging_nothing_fails_for_good(
    bench: MlflowBench, which: dict[str, str], said: str
) -> None:
    bench.version()
    with pytest.raises(AirflowFailException, match=said):
        MlflowTagVersionOperator(
            task_id="tag", model=bench.model, tags={"a": "1"}, **which
        ).execute({})


def test_version_or_alias_not_both() -> None:
    with pytest.raises(ValueError, match="either `version` or `alias`"):
        MlflowTagVersionOperator(task_id="tag", model="m", tags={})


def test_better_candidate_becomes_champion_once(bench: MlflowBench) -> None:
    old, new = bench.version(auc=0.7), bench.version(auc=0.75)
    first = bench.promote(old).execute({})
    assert (first["decision"], first["champion_version"]) == ("promoted", None)
    done = bench.promote(new).execute({})
    assert done["decision"] == "promoted"
    assert (done["candidate_score"], done["champion_score"]) == (0.75, 0.7)
    assert (bench.alias("champion"), bench.alias("previous")) == (new, old)
    again = bench.promote(new).execute({})
    assert again["decision"] == "unchanged"
    assert (bench.alias("champion"), bench.alias("previous")) == (new, old)


@pytest.mark.parametrize("on_refusal", ["return", "skip", "fail"])
def test_worse_candidate_is_refused_with_the_reason(bench: MlflowBench, on_refusal: str) -> None:
    old, new = bench.version(auc=0.7), bench.version(auc=0.705)
    bench.promote(old).execute({})
    promote = bench.promote(new, min_gain=0.01, on_refusal=on_refusal)
    reason = "auc is 0.705, that of the champion 0.7: not better by more than 0.01"
    if on_refusal == "return":
        done = promote.execute({})
        assert (done["decision"], done["reason"]) == ("refused", reason)
    else:
        ends = AirflowSkipException if on_refusal == "skip" else AirflowFailException
        with pytest.raises(ends, match=reason):
            promote.execute({})
    assert bench.alias("champion") == old
    assert bench.alias("previous") is None


def test_first_candidate_must_be_good_enough(bench: MlflowBench) -> None:
    done = bench.promote(bench.version(auc=0.52), at_least=0.6).execute({})
    assert (done["decision"], done["reason"]) == ("refused", "auc is 0.52, at least 0.6 is asked")
    assert bench.alias("champion") is None


def test_error_is_better_when_lower(bench: MlflowBench) -> None:
    old, new = bench.version(auc=0.3), bench.version(auc=0.2)
    bench.promote(old, higher_is_better=False).execute({})
    assert bench.promote(new, higher_is_better=False).execute({})["decision"] == "promoted"


@pytest.mark.parametrize("metrics", [{}, {"auc": float("nan")}])
def test_candidate_without_a_number_cannot_be_compared(
    bench: MlflowBench, metrics: dict[str, float]
) -> None:
    with pytest.raises(AirflowFailException, match="has no number for auc"):
        bench.promote(bench.version(**metrics)).execute({})
    assert bench.alias("champion") is None


def test_candidate_that_does_not_exist_is_told(bench: MlflowBench) -> None:
    with pytest.raises(AirflowFailException, match=r"^there is no version 7 of model"):
        bench.promote("7").execute({})


def test_version_is_waited_for(bench: MlflowBench) -> None:
    sensor = MlflowModelVersionSensor(task_id="wait", model=bench.model, **QUICKLY)
    found = waited(sensor, lambda: bench.version(auc=0.7))
    assert (found["model"], found["version"]) == (bench.model, "1")
    assert sensor.execute({}) == found  # at once, the next time


def test_certain_version_is_waited_for(bench: MlflowBench) -> None:
    bench.version()
    sensor = MlflowModelVersionSensor(task_id="wait", model=bench.model, version="2", **QUICKLY)
    assert waited(sensor, bench.version)["version"] == "2"


def test_alias_is_waited_for_until_it_moves(bench: MlflowBench) -> None:
    old, new = bench.version(), bench.version()
    bench.name("champion", old)
    sensor = MlflowAliasSensor(
        task_id="wait", model=bench.model, alias="champion", other_than=old, **QUICKLY
    )
    found = waited(sensor, lambda: bench.name("champion", new))
    assert (found["version"], found["alias"]) == (new, "champion")


def test_alias_is_waited_for_until_it_names_the_version(bench: MlflowBench) -> None:
    version = bench.version()
    sensor = MlflowAliasSensor(
        task_id="wait", model=bench.model, alias="champion", version=version, **QUICKLY
    )
    assert waited(sensor, lambda: bench.name("champion", version))["version"] == version


def test_metric_of_a_run_is_waited_for(bench: MlflowBench) -> None:
    run_id = bench.run(auc=0.5)
    sensor = MlflowMetricSensor(
        task_id="wait", run_id=run_id, metric="auc", at_least="0.7", **QUICKLY
    )
    found = waited(sensor, lambda: bench.measure(run_id, "auc", 0.8))
    assert found == {"run_id": run_id, "metric": "auc", "value": 0.8}


def test_metric_of_a_champion_is_waited_for(bench: MlflowBench) -> None:
    version = bench.version(loss=0.2)
    sensor = MlflowMetricSensor(
        task_id="wait", model=bench.model, alias="champion", metric="loss", at_most=0.3, **QUICKLY
    )
    found = waited(sensor, lambda: bench.name("champion", version))
    assert (found["version"], found["value"]) == (version, 0.2)


def test_metric_that_stays_too_low_says_what_it_was(bench: MlflowBench) -> None:
    run_id = bench.run(auc=0.5)
    sensor = MlflowMetricSensor(
        task_id="wait", run_id=run_id, metric="auc", at_least=0.7, poke_interval=0.1, timeout=0.5
    )
    with pytest.raises(AirflowSensorTimeout, match=f"in vain: auc of run {run_id} is 0.5$"):
        waited(sensor, lambda: None)


def test_run_that_does_not_exist_is_not_waited_for(bench: MlflowBench) -> None:  # noqa: ARG001
    sensor = MlflowMetricSensor(task_id="wait", run_id=NEVER, metric="auc", **QUICKLY)
    with pytest.raises(MlflowRefusedError, match=r"forbids `stages` runs/get .* no such thing"):
        sensor.execute({})


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_sensor_that_pokes_looks_again(bench: MlflowBench, mode: str) -> None:
    sensor = MlflowModelVersionSensor(
        task_id="wait", model=bench.model, deferrable=False, mode=mode, **QUICKLY
    )
    assert not sensor.poke({}).is_done
    version = bench.version()
    assert sensor.poke({}).is_done
    if mode == "poke":
        assert sensor.execute({})["version"] == version


def test_sensor_waits_for_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    connect(monkeypatch, url)
    sensor = MlflowModelVersionSensor(task_id="wait", model="m", poke_interval=0.1, timeout=0.5)
    with pytest.raises(AirflowSensorTimeout, match=f"in vain: MLflow at {url} does not answer"):
        waited(sensor, lambda: None)


def test_trigger_with_a_wrong_password_gives_up_at_once(
    bench: MlflowBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = MlflowModelVersionSensor(task_id="wait", model=bench.model, **QUICKLY)
    connect(monkeypatch, bench.url, password="changed meanwhile")
    event = event_of(MlflowTrigger(stored(sensor.condition), "mlflow", 0.1, time.time() + 30))
    assert event["status"] == "refused"
    with pytest.raises(AirflowFailException, match="does not take the login of `stages`"):
        sensor.execute_complete({}, event)


def test_trigger_that_breaks_fails_a_try() -> None:
    event = event_of(MlflowTrigger({"kind": "NoSuchCondition"}, "mlflow", 0.1, time.time()))
    assert event["status"] == "error"
    with pytest.raises(AirflowException, match="NoSuchCondition"):
        MlflowModelVersionSensor(task_id="wait", model="m").execute_complete({}, event)


@pytest.mark.parametrize(
    "which",
    [
        {},
        {"run_id": "r", "model": "m", "version": "1"},
        {"model": "m"},
        {"model": "m", "version": "1", "alias": "a"},
    ],
)
def test_metric_needs_one_place_to_look(which: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either `run_id`, or `model`"):
        MlflowMetricSensor(task_id="wait", metric="auc", **which)


def test_name_with_a_quote_is_not_searched_for(bench: MlflowBench) -> None:
    with pytest.raises(AirflowFailException, match="a name must have no quote in it"):
        MlflowHook().ask(find_alias(f"{bench.model}'s", "champion"))
