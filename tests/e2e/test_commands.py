"""The commands that a person types after `make demo`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.budget import budget
from tests.e2e.readme_demo import Demo
from tests.e2e.release import REPO

pytestmark = [pytest.mark.e2e, pytest.mark.budget(5)]

LAST_LINE = "Forwarding until you press Ctrl-C."


@dataclass(frozen=True)
class Page:
    """A page as `make ui` describes it: its address, and the commands that print its login."""

    url: str
    user: str | None = None
    password: str | None = None


@pytest.fixture(scope="module")
@budget(10)
def pages(demo: Demo) -> Iterator[dict[str, Page]]:  # noqa: ARG001 - the demo comes first
    """What `make ui` forwards, by title, while it forwards."""
    command = ["make", "--no-print-directory", "ui"]
    with subprocess.Popen(
        command, cwd=REPO, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield described(said_by(process))
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
            process.wait(30)


def said_by(process: subprocess.Popen[str]) -> str:
    said = ""
    for line in process.stdout or ():
        said += line
        if LAST_LINE in line:
            return said
    raise AssertionError(f"make ui ended early: {said}")


def described(said: str) -> dict[str, Page]:
    blocks = re.findall(
        r"^(\S.*?) {2,}(http\S+)\n(?:  user +(.+)\n  password +(.+)\n)?", said, re.MULTILINE
    )
    return {
        title: Page(url, user or None, password or None) for title, url, user, password in blocks
    }


def printed_by(command: str | None) -> str:
    assert command
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_page_is_forwarded_and_answers(pages: dict[str, Page]) -> None:
    assert set(pages) == {"Airflow", "MLflow", "MinIO console", "Model flights (/docs)"}
    for title, page in pages.items():
        with httpx.Client(follow_redirects=True, timeout=30) as client:
            answer = client.get(page.url + ("/docs" if title.startswith("Model") else ""))
        # MLflow asks for the login at once.
        assert answer.status_code == (401 if title == "MLflow" else 200), title


def test_the_logins_are_where_it_says(pages: dict[str, Page]) -> None:
    for title in ("Airflow", "MLflow", "MinIO console"):
        page = pages[title]
        user, password = printed_by(page.user), printed_by(page.password)
        assert user
        assert len(password) >= 16, title
        if title == "MLflow":
            assert httpx.get(page.url, auth=(user, password), timeout=30).status_code == 200
        if title == "Airflow":
            login = {"username": user, "password": password}
            token = httpx.post(f"{page.url}/auth/token", json=login, timeout=30)
            assert token.status_code == 201


@pytest.mark.usefixtures("demo")
def test_status_shows_the_nodes_and_what_is_not_well() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "status"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" Ready ") == 3
    assert "pods that are neither running nor finished" in done.stdout
