"""The way most users take: the node image comes from a registry, nothing is built.

A second engine runs in a network of its own, in which a local registry that holds the images under
the names a user pulls is all there is. What `k8s/up` does there, it does on a laptop.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.budget import budget

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.budget(100),
    pytest.mark.skipif(os.geteuid() != 0, reason="a second container engine needs root"),
]

REPO = Path(__file__).parents[2]
CACHE = Path(os.environ.get("SLIPWAY_CACHE") or Path.home() / ".cache" / "slipway")
CLUSTER = "slipway-registry"
NODE = "kindest/node:v1.36.3"
DEBIAN = "debian:bookworm-slim"
# In place of kind: one node tells as much as three do of where the image of nodes comes from.
KIND = """#!/usr/bin/env bash
for word; do
    shift
    [ "${before-}" != --config ] || word="$ONE_NODE"
    set -- "$@" "$word"
    before=$word
done
exec "$KIND" "$@"
"""
ONE_NODE = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
# Runs inside the network of its own; what it prints, the test reads.
SCRIPT = """
set -euo pipefail
trap k8s/down EXIT
k8s/up
eval "$(k8s/env)"
kubectl get nodes --no-headers --output \\
    custom-columns=NAME:.metadata.name,VERSION:.status.nodeInfo.kubeletVersion
echo "image: $(docker inspect --format '{{.Config.Image}}' "$SLIPWAY_CLUSTER-control-plane")"
docker pull --quiet debian:bookworm-slim
"""


def run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=REPO, env=env, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="module")
@budget(60)
def registry() -> Path:
    """A folder in which a registry keeps the images; filled once for each node image."""
    image = run("docker", "inspect", "--format", "{{.Config.Image}}", "slipway-control-plane")
    assert image.returncode == 0, image.stderr
    node = image.stdout.strip()
    folder = CACHE / "registry" / node.replace("/", "_").replace(":", "_")
    if not (folder / "filled").exists():
        run("k8s/engine/base-image").check_returncode()
        pairs = [f"{node}={NODE}", f"{DEBIAN}=library/{DEBIAN}"]
        filled = run("k8s/registry/registry", "fill", str(folder), *pairs)
        assert filled.returncode == 0, filled.stderr
        (folder / "filled").touch()
    return folder


@pytest.fixture
def home() -> Iterator[Path]:
    """A cache that holds the compiled engine (it runs as Docker would) and that kind."""
    home = CACHE / "registry" / "home"
    shutil.rmtree(home, ignore_errors=True)
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "toolchain").symlink_to(CACHE / "toolchain")
    (home / "cache" / "bin").mkdir()
    (home / "cache" / "bin" / "kind").write_text(KIND)
    (home / "cache" / "bin" / "kind").chmod(0o755)
    (home / "one-node.yaml").write_text(ONE_NODE)
    yield home
    shutil.rmtree(home)


def test_node_image_is_pulled_by_its_public_name_and_nothing_is_built(
    registry: Path, home: Path
) -> None:
    env = os.environ | {
        "SLIPWAY_CACHE": str(home / "cache"),
        "SLIPWAY_CLUSTER": CLUSTER,
        "SLIPWAY_ENGINE": "own",
        "KUBECONFIG": str(home / "kubeconfig"),
        "KIND": shutil.which("kind") or "",
        "ONE_NODE": str(home / "one-node.yaml"),
    }
    for ours in ("DOCKER_HOST", "SLIPWAY_ENGINE_DIR"):
        env.pop(ours, None)
    done = run("k8s/registry/registry", "alone", str(registry), "bash", "-c", SCRIPT, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    nodes = [line for line in lines if line.startswith(CLUSTER)]
    assert len(nodes) == 1
    assert {line.split()[1] for line in nodes} == {"v1.36.3"}
    assert f"image: {NODE}" in lines
    assert any(line.endswith(DEBIAN) for line in lines)
    assert "build the node image" not in done.stderr
    assert not (home / "cache" / "images").exists()
    assert not (home / "cache" / "engine").exists()  # `k8s/down` leaves only the cache
