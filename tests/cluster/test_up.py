"""When `k8s/up` takes a cluster as it is, waits for it, deletes it, or does not begin at all.

Engine and kind are scripts of the test's own: a creation that was interrupted and nodes that don't
come back can't be ordered from real ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODES = ("slipway-control-plane", "slipway-worker", "slipway-worker2")
# Files in $STATE: nodes (the containers), registered (what the cluster says of them), finished,
# gone (the engine), images (what nodes were given).
DOCKER = r"""#!/usr/bin/env bash
case "$1 $*" in
version*) echo 29; [ ! -e "$STATE/gone" ] ;;
exec*"get nodes"*) cat "$STATE/registered" ;;
exec*touch*) touch "$STATE/finished" ;;
ps*role=worker*) grep worker "$STATE/nodes" ;;
exec*"images import"*) [ -z "${NODES_REFUSE-}" ] && echo "$2" >>"$STATE/images" ;;
cp*finished*)
    [ -z "${BREAKS_OFF-}" ] || touch "$STATE/gone"
    [ -e "$STATE/finished" ] && [ ! -e "$STATE/gone" ] ;;
esac
"""
KIND = r"""#!/usr/bin/env bash
echo "$1 $2" >>"$STATE/calls"
case "$1 $2" in
"version -q") echo 0.31.0 ;;
"get clusters") [ ! -s "$STATE/nodes" ] || echo slipway ;;
"get nodes") cat "$STATE/nodes" ;;
"delete cluster") rm "$STATE/"{nodes,registered,finished} 2>/dev/null || true ;;
"create cluster")
    printf '%s\n' $NODES >"$STATE/nodes"
    for _ in $(seq "${CREATES_FOR-0}"); do [ -s "$STATE/images" ] || sleep 1; done
    cp "$STATE/images" "$STATE/images-then" 2>/dev/null || true
    printf '%s Ready\n' $NODES >"$STATE/registered" ;;
esac
"""
KUBECTL = "#!/bin/sh\necho 'Client Version: v1.36.3'\n"
HELM = "#!/bin/sh\necho v4.0.0\n"


@dataclass(frozen=True)
class Machine:
    """A machine with an engine, on which there may be a cluster."""

    state: Path
    programs: Path

    def has(self, registered: Sequence[str], *, finished: bool) -> None:
        """Give it a cluster of three containers, of which these have joined, with their status."""
        (self.state / "nodes").write_text("\n".join(NODES) + "\n")
        (self.state / "registered").write_text("\n".join(registered) + "\n")
        if finished:
            (self.state / "finished").touch()

    def up(self, path: str | None = None, **how: str) -> subprocess.CompletedProcess[str]:
        """Run `k8s/up` with little patience."""
        ours = ("DOCKER_HOST", "SLIPWAY_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "PATH": path or f"{self.programs}:{os.environ['PATH']}",
            "STATE": str(self.state),
            "NODES": " ".join(NODES),
            "SLIPWAY_CACHE": str(self.state / "cache"),
            "SLIPWAY_ENGINE_DIR": str(self.state / "cache/engine"),
            "SLIPWAY_CLUSTER": "slipway",
            "SLIPWAY_ENGINE": "auto",
            "SLIPWAY_UNFINISHED_SECONDS": "1",
            "SLIPWAY_RESTART_SECONDS": "2",
        }
        command = [shutil.which("bash") or "bash", str(ROOT / "k8s/up")]
        return subprocess.run(command, env=env | how, capture_output=True, text=True, check=False)

    @property
    def changes(self) -> list[str]:
        """Return what was done to the cluster."""
        calls = (self.state / "calls").read_text().splitlines()
        return [call.split()[0] for call in calls if call.split()[0] in ("delete", "create")]

    @property
    def finished(self) -> bool:
        """Whether the cluster counts as one that has worked."""
        return (self.state / "finished").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path, tmp_path / "bin")
    made.programs.mkdir()
    (made.state / "calls").touch()
    for name, text in {"docker": DOCKER, "kind": KIND, "kubectl": KUBECTL, "helm": HELM}.items():
        (made.programs / name).write_text(text)
        (made.programs / name).chmod(0o755)
    return made


def ready(*nodes: str) -> list[str]:
    return [f"{node}   Ready   <none>   3m   v1.36.3" for node in nodes]


def test_new_cluster_is_created_and_known_to_have_worked(machine: Machine) -> None:
    done = machine.up()
    assert done.returncode == 0, done.stderr
    assert (machine.changes, machine.finished) == (["create"], True)


def keep_image(machine: Machine) -> None:
    """Put the archive of an image into the cache, as an earlier run leaves it."""
    command = [str(ROOT / "k8s/images/build"), "--tags"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    tag = dict(line.split("\t") for line in lines)["postgres"]
    archive = machine.state / f"cache/images/slipway_postgres_{tag}.tar"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("index.json"))


def test_kept_images_reach_the_nodes_while_the_cluster_is_created(machine: Machine) -> None:
    keep_image(machine)
    done = machine.up(CREATES_FOR="30")
    assert done.returncode == 0, done.stderr
    given = (machine.state / "images-then").read_text().split()
    assert set(given) <= set(NODES[1:])
    assert given


def test_cluster_comes_up_when_the_nodes_refuse_kept_images(machine: Machine) -> None:
    keep_image(machine)
    done = machine.up(NODES_REFUSE="1")
    assert done.returncode == 0, done.stderr
    assert (machine.changes, machine.finished) == (["create"], True)


def test_working_cluster_is_taken_as_it_is(machine: Machine) -> None:
    machine.has(ready(*NODES), finished=True)
    done = machine.up()
    assert done.returncode == 0, done.stderr
    assert machine.changes == []


def test_working_cluster_of_an_older_release_is_known_from_now_on(machine: Machine) -> None:
    machine.has(ready(*NODES), finished=False)
    assert machine.up().returncode == 0
    assert (machine.changes, machine.finished) == ([], True)


def test_creation_that_broke_off_before_the_workers_joined_is_done_again(machine: Machine) -> None:
    machine.has(ready(NODES[0]), finished=False)
    done = machine.up()
    assert done.returncode == 0, done.stderr
    assert (machine.changes, machine.finished) == (["delete", "create"], True)


@pytest.mark.parametrize(
    "registered",
    [
        pytest.param([*ready(*NODES[:2]), f"{NODES[2]} NotReady"], id="not ready"),
        pytest.param(ready(*NODES[:2]), id="not joined"),
    ],
)
def test_cluster_that_worked_is_never_deleted(machine: Machine, registered: list[str]) -> None:
    machine.has(registered, finished=True)
    done = machine.up()
    assert done.returncode != 0
    assert machine.changes == []
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f": {NODES[2]}; " in error
    assert "'make up' again" in error
    assert "'make down' to start afresh, which deletes its data" in error


def test_control_plane_that_does_not_answer_is_waited_for_too(machine: Machine) -> None:
    machine.has([], finished=True)
    done = machine.up()
    assert done.returncode != 0
    assert " ".join(NODES) in done.stderr
    assert machine.changes == []


def test_engine_that_breaks_off_does_not_make_a_cluster_unfinished(machine: Machine) -> None:
    machine.has([], finished=True)
    assert machine.up(BREAKS_OFF="1").returncode != 0
    assert machine.changes == []


def test_system_without_apt_is_refused_at_once(machine: Machine, tmp_path: Path) -> None:
    little = tmp_path / "little"
    little.mkdir()
    for name in ("bash", "dirname", "env", "sort"):
        (little / name).symlink_to(shutil.which(name) or name)
    done = machine.up(path=f"{machine.programs}:{little}")
    assert done.returncode != 0
    (error,) = done.stderr.splitlines()
    assert "no apt-get" in error
    assert "Debian or Ubuntu" in error
    assert not (machine.state / "cache").exists()


def test_system_without_apt_may_have_everything_already(machine: Machine, tmp_path: Path) -> None:
    every = tmp_path / "every"
    every.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name != "apt-get" and not (every / program.name).is_symlink():
                (every / program.name).symlink_to(program)
    go = machine.programs / "go"
    go.write_text("#!/bin/sh\necho go1.99.0\n")
    go.chmod(0o755)
    done = machine.up(path=f"{machine.programs}:{every}")
    assert done.returncode == 0, done.stderr
