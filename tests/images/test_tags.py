"""A tag is the digest of what an image is made from: no more and no less."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE_FROM = ("pyproject.toml", "uv.lock", "ml", "dags", "k8s/lib.sh", "k8s/images")
LOCKS = ("k8s/toolchain/minio", "k8s/toolchain/mc")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of all that the images are made from, free to be edited."""
    for name in MADE_FROM + LOCKS:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return tmp_path


def tags(checkout: Path) -> dict[str, str]:
    command = [str(checkout / "k8s/images/build"), "--tags"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split("\t") for line in lines)


def changed(checkout: Path, edit: Callable[[Path], object]) -> set[str]:
    """Return the images whose tag another content of the checkout changes."""
    before = tags(checkout)
    edit(checkout)
    return {name for name, tag in tags(checkout).items() if tag != before[name]}


def append(path: str) -> Callable[[Path], object]:
    def edit(checkout: Path) -> None:
        with (checkout / path).open("a") as file:
            file.write("\n# edited\n")

    return edit


def test_tags_have_twelve_digits_and_do_not_depend_on_the_place(checkout: Path) -> None:
    assert tags(checkout) == tags(ROOT)
    assert all(len(tag) == 12 and int(tag, 16) >= 0 for tag in tags(checkout).values())


@pytest.mark.parametrize(
    ("path", "images"),
    [
        ("ml/cli.py", {"ml", "airflow"}),
        ("ml/serving/app.py", {"ml", "airflow", "serving"}),
        ("dags/ml_training_pipeline.py", {"airflow"}),
        ("uv.lock", {"ml", "airflow", "serving", "mlflow"}),
        ("k8s/images/base/Dockerfile", {"ml", "airflow", "serving", "mlflow"}),
        ("k8s/images/postgres/docker-entrypoint.sh", {"postgres"}),
        ("k8s/toolchain/mc/go.sum", {"minio"}),
    ],
)
def test_an_edit_changes_the_images_made_from_it(
    checkout: Path, path: str, images: set[str]
) -> None:
    assert changed(checkout, append(path)) == images


def test_what_python_leaves_behind_changes_nothing(checkout: Path) -> None:
    def compile_something(checkout: Path) -> None:
        (checkout / "ml/__pycache__").mkdir()
        (checkout / "ml/__pycache__/cli.pyc").write_bytes(b"x")
        (checkout / "dags/stale.pyc").write_bytes(b"x")

    assert changed(checkout, compile_something) == set()


def test_a_renamed_file_and_a_lost_executable_bit_count(checkout: Path) -> None:
    def rename(checkout: Path) -> None:
        (checkout / "ml/cli.py").rename(checkout / "ml/command_line.py")

    def chmod(checkout: Path) -> None:
        (checkout / "k8s/images/postgres/docker-entrypoint.sh").chmod(0o644)

    assert changed(checkout, rename) == {"ml", "airflow"}
    assert changed(checkout, chmod) == {"postgres"}


def test_a_missing_source_is_named(checkout: Path) -> None:
    shutil.rmtree(checkout / "ml/serving")
    done = subprocess.run(
        [str(checkout / "k8s/images/build"), "--tags"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "ml/serving, which is missing" in done.stderr
