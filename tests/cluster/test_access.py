"""What goes between the commands and the cluster, with a kubectl of the test's own."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from k8s.access import AccessError, port_forward
from k8s.demo import Clock, champion, land
from k8s.rollback import main as rollback
from k8s.stage_pod import manifest

# Says far more than a pipe holds, as after thousands of connections, and then that it is through.
TALKATIVE = r"""#!/usr/bin/env bash
echo 'Forwarding from 127.0.0.1:40000 -> 8080'
for i in {1..10000}; do echo 'Handling connection for 40000'; done
touch "$FOLDER/through"
exec sleep 60
"""
SILENT = "#!/bin/sh\necho 'error: services not found'\nexit 1\n"
# Has one template, and pods that end as $PHASE says.
CLUSTER = r"""#!/usr/bin/env bash
shift 2
echo "$*" >>"$FOLDER/calls"
case "$1 $2" in
"get configmap") cat "$FOLDER/templates.json" ;;
"create -f") cat >"$FOLDER/pod.json" ;;
"get pod") echo '{"status": {"phase": "'"$PHASE"'"}}' ;;
logs*) echo '60 days' ;;
esac
"""
TEMPLATES = {"data": {"land.yaml": "{metadata: {}, spec: {containers: [{name: stage}]}}"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's kubectl is and leaves its traces."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    return tmp_path


def kubectl_is(folder: Path, script: str) -> None:
    (folder / "kubectl").write_text(script)
    (folder / "kubectl").chmod(0o755)


def test_forward_goes_on_after_thousands_of_connections(folder: Path) -> None:
    kubectl_is(folder, TALKATIVE)
    with port_forward("flights", 8080) as url:
        assert url == "http://127.0.0.1:40000"
        deadline = time.monotonic() + 20
        while not (folder / "through").exists():
            assert time.monotonic() < deadline, "kubectl waits for someone to read what it says"
            time.sleep(0.05)


def test_forward_that_does_not_come_up_says_why(folder: Path) -> None:
    kubectl_is(folder, SILENT)
    with pytest.raises(AccessError, match="services not found"), port_forward("flights", 8080):
        pass


def landing(folder: Path, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl_is(folder, CLUSTER)
    (folder / "templates.json").write_text(json.dumps(TEMPLATES))
    monkeypatch.setenv("PHASE", phase)
    land(Clock(time.monotonic()), "flights")


def deleted(folder: Path) -> list[str]:
    calls = [line.split() for line in (folder / "calls").read_text().splitlines()]
    return [call[2] for call in calls if call[:2] == ["delete", "pod"]]


def test_pod_that_landed_the_data_is_deleted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    landing(folder, "Succeeded", monkeypatch)
    pod = json.loads((folder / "pod.json").read_text())
    assert deleted(folder) == [pod["metadata"]["name"]]
    assert "landed: 60 days" in capsys.readouterr().out


def test_pod_that_could_not_land_stays_for_its_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AccessError, match="landing failed: 60 days"):
        landing(folder, "Failed", monkeypatch)
    assert deleted(folder) == []


def test_pod_by_hand_logs_in_to_the_store_as_its_project(folder: Path) -> None:
    keys = {"name": "store", "key": "{project}.access-key"}
    env = [
        {"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": keys}},
        {"name": "SLIPWAY_SERVING_URL", "value": "http://{project}.slipway.svc:8080"},
    ]
    pod = {"metadata": {}, "spec": {"containers": [{"name": "stage", "env": env}]}}
    kubectl_is(folder, CLUSTER)
    (folder / "templates.json").write_text(json.dumps({"data": {"smoke.yaml": json.dumps(pod)}}))
    made = manifest("smoke", "my_own", ["smoke"])["spec"]["containers"][0]["env"]
    assert made[0]["valueFrom"]["secretKeyRef"]["key"] == "my_own.access-key"
    assert made[1] == env[1]


# A verb that fails says why, and then writes a line of its log.
REFUSES = CLUSTER.replace(
    "echo '60 days'", r"printf 'error: version 1 stays\nstage=roll_back level=error failed: 1\n'"
)


def rolled_back(folder: Path, script: str, phase: str, *arguments: str) -> tuple[int, list[str]]:
    """Run `make rollback`'s command; return how it ended and what its pod was to do."""
    kubectl_is(folder, script.replace("$PHASE", phase))
    templates = {"data": {"roll_out.yaml": TEMPLATES["data"]["land.yaml"]}}
    (folder / "templates.json").write_text(json.dumps(templates))
    status = rollback([*arguments])
    pod = json.loads((folder / "pod.json").read_text())
    return status, pod["spec"]["containers"][0]["args"]


def test_roll_back_tells_the_cluster_who_wants_it_and_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    word = ["--project", "flights", "--by", "anna", "--reason", "it drifts"]
    done = rolled_back(folder, CLUSTER, "Succeeded", "flights", "--reason", "it drifts")
    assert done == (0, ["roll-back", *word])
    assert capsys.readouterr().out.splitlines()[-1] == "60 days"
    given = ("flights", "--give-back", "3", "--reason", "it drifts")
    done = rolled_back(folder, CLUSTER, "Succeeded", *given)
    assert done == (0, ["give-back", "--version", "3", *word])


def test_roll_back_that_is_refused_says_the_sentence_and_not_the_log(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = rolled_back(folder, REFUSES, "Failed", "flights")
    assert status == 1
    assert capsys.readouterr().err == "error: version 1 stays\n"


def test_demo_says_why_nothing_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = [{"key": "slipway.reason", "value": "AUC 0.6 is not surely above 0.7"}]
    refused = {"model_version": {"version": "1", "tags": tags}}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params["alias"] == "challenger":
            return httpx.Response(200, json=refused)
        return httpx.Response(400, json={"error_code": "INVALID_PARAMETER_VALUE"})

    client = httpx.Client(base_url="http://mlflow", transport=httpx.MockTransport(answer))
    monkeypatch.setattr("k8s.demo.mlflow", lambda: client)
    with pytest.raises(AccessError, match=r"version 1 was refused: AUC 0\.6 is not surely"):
        champion()
