"""The documents say what is so: commands run as written, links lead somewhere, targets exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.environment import plain_environment

REPO = Path(__file__).parents[2]
README = (REPO / "README.md").read_text()
MAKEFILE = (REPO / "Makefile").read_text()
PAGES = [
    page
    for page in [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("dags/*.md")]
    if page.is_file()
]
# Run with other names by tests/images/test_push.py and tests/e2e/test_external.py.
ON_A_CLUSTER = (
    "k8s/images/push ",
    "kubectl create namespace ",
    "kubectl label namespace ",
    "helm install ",
)
# Run by the end-to-end tests, by CI (test), and by a person only (down).
RUN_ELSEWHERE = {f"make {verb}" for verb in ("demo", "test", "ui", "status", "rollback", "down")}


def commands(text: str) -> list[str]:
    """Return the commands of a page's sh blocks, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if line]


def test_first_screen_has_the_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:30])
    assert "make demo" in first_screen
    assert "make test" in first_screen
    assert "```mermaid" in first_screen


def test_local_commands_run_as_written(tmp_path: Path) -> None:
    local = [command for command in commands(README) if command.startswith(".venv/bin/python")]
    assert len(local) >= 2
    environment = plain_environment() | {
        "SLIPWAY_LANDING_URL": f"{tmp_path}/landing",
        "SLIPWAY_DATA_URL": f"{tmp_path}/data",
        "SLIPWAY_MODELS_URL": f"{tmp_path}/models",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }
    for command in local:
        done = subprocess.run(
            shlex.split(command),
            cwd=REPO,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_every_other_command_is_one_we_know_of() -> None:
    others = {c for c in commands(README) if not c.startswith(".venv/bin/python")}
    installs = {c for c in others if c.startswith(ON_A_CLUSTER)}
    assert others - installs == RUN_ELSEWHERE
    assert len(installs) == len(ON_A_CLUSTER)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def targets() -> set[str]:
    return set(re.findall(r"^\.PHONY: (\S+)", MAKEFILE, re.MULTILINE))


def test_every_target_has_help() -> None:
    documented = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert documented == targets()
    assert len(documented) <= 15


def test_every_target_named_in_a_page_exists() -> None:
    named = {
        target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text())
    }
    assert named <= targets()


def test_every_public_target_is_in_a_page() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    missing = {target for target in targets() if f"make {target}" not in text}
    assert missing <= {"help"}
