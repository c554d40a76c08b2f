"""`make down` takes along what our engine changed of the machine's network, and nothing else.

A network namespace stands for the machine: its bridges and rules are real, and gone with the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a network of one's own needs root"),
    pytest.mark.skipif(not shutil.which("iptables"), reason="there are no rules without iptables"),
]

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = f"source {ROOT}/k8s/lib.sh; source {ROOT}/k8s/engine/network.sh"
# What the machine had before: a bridge, rules and a policy of the user's own.
USERS = """
echo 0 >/proc/sys/net/ipv4/ip_forward
ip link add br-lan type bridge
iptables -A FORWARD -i br-lan -j ACCEPT
iptables -t nat -A POSTROUTING -s 10.9.0.0/16 ! -o br-lan -j MASQUERADE
"""
ENGINES = """
echo 1 >/proc/sys/net/ipv4/ip_forward
for bridge in docker0 br-0123456789ab; do
    ip link add $bridge type bridge
    iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o $bridge -j MASQUERADE
done
for tables in iptables ip6tables; do
    $tables -P FORWARD DROP
    for chain in DOCKER DOCKER-FORWARD DOCKER-USER; do $tables -N $chain; done
    $tables -A FORWARD -j DOCKER-USER
    $tables -A FORWARD -j DOCKER-FORWARD
    $tables -A DOCKER-FORWARD -o docker0 -j DOCKER
    $tables -t nat -N DOCKER
    $tables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
done
"""
SHOW = """
for tables in iptables ip6tables; do
    for table in filter nat; do $tables -t $table -S; done
done
ip -o link show type bridge | awk -F ': ' '{print $2}'
cat /proc/sys/net/ipv4/ip_forward
"""


def network_after(folder: Path, script: str, *, other_engine: bool = False) -> str:
    """Run a script in a network of its own and return what it printed."""
    pgrep = folder / "bin" / "pgrep"
    pgrep.parent.mkdir(exist_ok=True)
    pgrep.write_text(f"#!/bin/sh\nexit {0 if other_engine else 1}\n")
    pgrep.chmod(0o755)
    env = os.environ | {
        "PATH": f"{pgrep.parent}:{os.environ['PATH']}",
        "SLIPWAY_CACHE": str(folder),
        "SLIPWAY_ENGINE_DIR": str(folder / "engine"),
    }
    (folder / "engine").mkdir(exist_ok=True)
    command = ["unshare", "--net", "bash", "-euo", "pipefail", "-c", f"{LIBRARY}\n{script}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_network_is_as_it_was_before_the_engine(tmp_path: Path) -> None:
    found = network_after(tmp_path, f"{USERS}\nnote_network\n{ENGINES}\nrestore_network\n{SHOW}")
    assert "DOCKER" not in found
    assert "docker0" not in found
    assert found == network_after(tmp_path, f"{USERS}\n{SHOW}")


def test_rules_go_without_a_note_of_what_was_before(tmp_path: Path) -> None:
    found = network_after(tmp_path, f"{USERS}\n{ENGINES}\nrestore_network\n{SHOW}")
    assert "DOCKER" not in found
    assert "br-lan" in found
    assert "br-0123456789ab" not in found


def test_engine_that_is_started_again_does_not_note_its_own_changes(tmp_path: Path) -> None:
    script = f"{USERS}\nnote_network\n{ENGINES}\nnote_network\nrestore_network\n{SHOW}"
    assert network_after(tmp_path, script).splitlines()[-1] == "0"


def test_network_of_another_engine_that_runs_is_left_alone(tmp_path: Path) -> None:
    script = f"{USERS}\nnote_network\n{ENGINES}\nrestore_network\n{SHOW}"
    found = network_after(tmp_path, script, other_engine=True)
    assert "docker0" in found
    assert "-A FORWARD -j DOCKER-USER" in found


@pytest.mark.parametrize("phase", ["k8s/phase", "tests/phase"])
def test_another_cache_has_an_engine_of_its_own_inside_a_phase_too(
    tmp_path: Path, phase: str
) -> None:
    """Else a test that ends the engine of its own cache ends the one of the cluster under test."""
    ours, others = tmp_path / "ours", tmp_path / "others"
    ours.mkdir()
    inner = f"SLIPWAY_CACHE={others} bash -c 'source {ROOT}/k8s/lib.sh; echo $SLIPWAY_ENGINE_DIR'"
    env = {k: v for k, v in os.environ.items() if k != "SLIPWAY_ENGINE_DIR"}
    done = subprocess.run(
        [str(ROOT / phase), "a phase", "bash", "-c", inner],
        env=env | {"SLIPWAY_CACHE": str(ours)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == f"{others}/engine"
