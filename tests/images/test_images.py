"""Every image keeps its promises: any user, read-only, no build tools, no private certificate."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.budget import budget

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("SLIPWAY_CACHE") or Path.home() / ".cache/slipway")
CONFINED = [
    "--read-only",
    "--tmpfs=/tmp",
    "--user=54321:0",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
]
WARM_SECONDS = 5.0


@dataclass(frozen=True)
class Image:
    """One image: where the chart keeps it, and what it answers when asked for its version."""

    name: str
    values_key: str
    version_command: list[str]
    answer: str
    options: list[str] = field(default_factory=list)
    python: bool = True

    @property
    def reference(self) -> str:
        values = yaml.safe_load((CACHE / "images.yaml").read_text())[self.values_key]["image"]
        return f"{values['repository']}:{values['tag']}"

    def run(self, *command: str, options: list[str] | None = None) -> str:
        """Run a command in a container and return its output."""
        done = docker("run", "--rm", *(options or []), self.reference, *command, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], check=check, capture_output=True, text=True)


def locked(package: str) -> str:
    """Return the version of a package that uv.lock has."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return str(next(entry["version"] for entry in packages if entry["name"] == package))


IMAGES = [
    Image(
        "airflow",
        "airflow",
        ["airflow", "version"],
        rf"^{re.escape(locked('apache-airflow'))}$",
        ["--tmpfs", "/opt/airflow:mode=1777"],
    ),
    Image("ml", "stages", ["python", "-m", "ml", "--help"], "build-features"),
    Image(
        "serving",
        "serving",
        ["python", "-c", "import ml.serving.app, onnxruntime as o; print(o.__version__)"],
        rf"^{re.escape(locked('onnxruntime'))}$",
    ),
    Image(
        "mlflow",
        "mlflow",
        ["python", "-m", "mlflow", "--version"],
        re.escape(locked("mlflow")),
    ),
    Image("postgres", "postgres", ["postgres", "--version"], r"PostgreSQL\) 15\.", python=False),
    Image("minio", "objectStore", ["sh", "-c", "minio -v; mc -v"], "(?s)minio.*mc", python=False),
]
PYTHON_IMAGES = [image for image in IMAGES if image.python]
SERVING = next(image for image in IMAGES if image.name == "serving")

every = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
every_python = pytest.mark.parametrize("image", PYTHON_IMAGES, ids=lambda image: image.name)


@pytest.fixture(scope="module", autouse=True)
@budget(120)
def in_the_engine() -> None:
    """Give the images to the engine, which needs none of them for a cluster."""
    subprocess.run([str(ROOT / "k8s/images/build"), "--engine"], check=True)


@every
def test_it_answers_as_any_user_on_a_read_only_root(image: Image) -> None:
    output = image.run(*image.version_command, options=CONFINED + image.options)
    assert re.search(image.answer, output, re.MULTILINE), output


@every
def test_it_does_not_run_as_root_unless_told_to(image: Image) -> None:
    user = inspect(image)["Config"]["User"]
    assert re.fullmatch(r"[1-9]\d*:0", user), user


@every
def test_it_has_no_build_tools(image: Image) -> None:
    tools = "cc gcc g++ c++ make ld as pip pip3 uv git curl wget"
    found = image.run("sh", "-c", f"for tool in {tools}; do command -v $tool; done; true")
    assert found.split() == []


@every_python
def test_python_cannot_install_packages(image: Image) -> None:
    spec = "import importlib.util as u; print(u.find_spec('pip'), u.find_spec('ensurepip'))"
    assert image.run("python", "-c", spec).split() == ["None", "None"]


@every_python
def test_all_python_is_compiled(image: Image) -> None:
    script = (
        "import importlib.util as u, pathlib as p, sys\n"
        "files = [f for d in sys.argv[1:] for f in p.Path(d).rglob('*.py')]\n"
        "bare = [str(f) for f in files if not p.Path(u.cache_from_source(str(f))).exists()]\n"
        "print(len(files), len(bare), *bare[:5])"
    )
    files, bare, *examples = image.run(
        "python", "-c", script, "/opt/venv/lib", "/opt/slipway"
    ).split()
    assert int(files) > 1000
    assert int(bare) == 0, examples


@every
def test_its_labels_say_what_it_is_made_from(image: Image) -> None:
    labels = inspect(image)["Config"]["Labels"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert labels["org.opencontainers.image.title"] == f"slipway/{image.name}"
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.licenses"]
    assert labels["org.opencontainers.image.description"]


@every
def test_the_revision_in_its_environment_is_its_tag(image: Image) -> None:
    assert f"SLIPWAY_REVISION={image.reference.split(':')[1]}" in inspect(image)["Config"]["Env"]


@every
def test_no_certificate_of_this_machine_is_left_in_it(image: Image, tmp_path: Path) -> None:
    """A build behind a proxy that opens TLS trusts that proxy; the image must not."""
    lines = private_certificate_lines()
    if not lines:
        pytest.skip("this machine trusts no certificate that the image does not")
    patterns = tmp_path / "patterns"
    patterns.write_text("\n".join(lines) + "\n")
    patterns.chmod(0o644)
    options = ["--user", "0:0", "-v", f"{patterns}:/proc-patterns:ro"]
    search = (
        "grep -rlFf /proc-patterns /opt /etc /usr /var /home /root /tmp /build 2>/dev/null; true"
    )
    assert image.run("sh", "-c", search, options=[*options, "--entrypoint", ""]).split() == []


@every_python
def test_it_stops_when_asked(image: Image) -> None:
    container = docker("run", "-d", image.reference, "sleep", "600").stdout.strip()
    try:
        started = time.monotonic()
        docker("stop", "--time", "20", container)
        assert time.monotonic() - started < 10
    finally:
        docker("rm", "-f", container)


def test_the_model_server_has_no_mlflow_and_no_other_stage() -> None:
    names = "mlflow mlflow_skinny airflow kubernetes polars ml.core ml.data ml.training ml.projects"
    script = "import importlib.util as u, sys\nprint(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    assert SERVING.run("python", "-c", script, *names.split()).split() == []


def test_the_model_server_loads_every_form_of_a_model() -> None:
    script = (
        "import ml.serving.trial, cloudpickle, onnxruntime, pandas, sklearn, skops; print('all')"
    )
    assert SERVING.run("python", "-c", script, options=CONFINED) == "all\n"


def test_a_second_build_changes_nothing_and_is_quick() -> None:
    before = (CACHE / "images.yaml").read_bytes()
    started = time.monotonic()
    done = subprocess.run(
        [str(ROOT / "k8s/images/build")], check=True, capture_output=True, text=True
    )
    seconds = time.monotonic() - started
    assert (CACHE / "images.yaml").read_bytes() == before
    assert "building" not in done.stderr
    assert seconds < WARM_SECONDS, f"{seconds:.1f} s"


def test_an_unknown_image_is_refused_in_one_sentence() -> None:
    done = subprocess.run(
        [str(ROOT / "k8s/images/build"), "nginx"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "error: there is no image 'nginx'; there are: minio postgres" in done.stderr


def inspect(image: Image) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", image.reference).stdout)[0]
    return found


def private_certificate_lines() -> list[str]:
    """Return a line in the middle of each certificate that only this machine trusts."""
    bundle = Path(os.environ.get("SLIPWAY_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or "/none")
    if not bundle.is_file():
        return []
    bundles = "/etc/ssl/certs/ca-certificates.crt $(find /opt/venv -name cacert.pem)"
    public = certificates(PYTHON_IMAGES[0].run("sh", "-c", f"cat {bundles}"))
    private = certificates(bundle.read_text()) - public  # Debian's and the packages' own
    return [certificate.split("\n")[-3] for certificate in private]


def certificates(bundle: str) -> set[str]:
    """Return the bodies of the certificates in a bundle."""
    return set(re.findall(r"-----BEGIN CERTIFICATE-----\n(.*?)-----END", bundle, re.DOTALL))
