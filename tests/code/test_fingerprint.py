"""Keys change when the work changes, and only then."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from ml.core.fingerprint import OURS, code_digest, fingerprint, libraries, source_digest
from ml.stages import Stage

HELPER = """\
\"\"\"Half of a number.\"\"\"


def half(number: float) -> float:
    \"\"\"Return it.\"\"\"
    return number / 2
"""


class Package:
    """A package `ml` of its own, whose stage uses a helper in one of several ways."""

    _numbers = itertools.count()

    def __init__(self, folder: Path, imports: str) -> None:
        self._folder, self._imports = folder, imports

    def digest(self, helper: str = HELPER, stage: str = "") -> str:
        # A place of its own each time, as digests are remembered by place.
        package = self._folder / str(next(self._numbers)) / "ml"
        (package / "room").mkdir(parents=True)
        (package / "room/helper.py").write_text(helper)
        (package / "stages.py").write_text(f"TABLE = {stage!r}")
        (package / "work.py").write_text(f"{self._imports}\nfrom ml import stages\n")
        return code_digest("ml.work", package)


IMPORTS = (
    "import ml.room.helper",
    "import ml.room.helper as it",
    "from ml.room import helper",
    "from ml.room.helper import half",
    "def later():\n    from ml.room import helper\n",
)


@pytest.mark.parametrize("imports", IMPORTS)
def test_a_changed_helper_changes_the_key_however_it_is_imported(
    tmp_path: Path, imports: str
) -> None:
    package = Package(tmp_path, imports)
    assert package.digest() == package.digest()
    assert package.digest(HELPER.replace("/ 2", "/ 3")) != package.digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Half of a number.", "One part of two."),
        ('"""Return it."""', '"""Return half of it."""'),
        ('    """Return it."""\n', ""),
        ("    return", "    # rather not rounded\n    return"),
        ("number / 2", "(\n        number/2\n    )"),
    ],
)
def test_what_only_readers_need_changes_no_key(tmp_path: Path, old: str, new: str) -> None:
    assert old in HELPER
    package = Package(tmp_path, IMPORTS[0])
    assert package.digest(HELPER.replace(old, new)) == package.digest()
    assert source_digest(HELPER.replace(old, new).encode()) == source_digest(HELPER.encode())


def test_the_table_of_verbs_is_no_work(tmp_path: Path) -> None:
    package = Package(tmp_path, IMPORTS[0])
    assert package.digest(stage="longer time-out") == package.digest()


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_is_named_by_its_own_code_and_by_no_command_line(stage: Stage) -> None:
    from ml.core import fingerprint as module

    found = set(module._sources(stage.module, OURS, {}))
    assert OURS / "core/ledger.py" in found or stage is Stage.ROLL_OUT
    assert OURS / f"{stage.room}/{stage}.py" in found
    assert OURS / "stages.py" not in found
    assert OURS / "cli.py" not in found


def test_of_other_stages_only_what_is_used_counts() -> None:
    digests = {code_digest(stage.module) for stage in Stage}
    assert len(digests) == len(Stage)


def install(folder: Path, name: str, package: str, version: str) -> None:
    """Put a library into a folder as an installer would."""
    (folder / package).mkdir(parents=True, exist_ok=True)
    (folder / package / "__init__.py").write_text("")
    for old in folder.glob(f"{name}-*.dist-info"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n")


@pytest.mark.parametrize("name", ["lightgbm", "light_gradient_boosting"])
def test_another_version_of_a_library_is_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also where the library is distributed under another name than it is imported by."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    source = b"import os\nimport lightgbm as lgb\nfrom sklearn.svm import SVC\n"
    keys = []
    for version in ("4.5.0", "4.6.0"):
        install(tmp_path, name, "lightgbm", version)
        libraries.cache_clear()
        found = libraries(source)
        assert found["lightgbm"] == version
        assert set(found) == {"lightgbm", "sklearn"}
        keys.append(fingerprint(libraries=found))
    assert len(set(keys)) == 2
    libraries.cache_clear()


def test_what_is_not_there_or_is_no_python_has_a_key_too() -> None:
    assert libraries(b"import nowhere_to_be_found") == {"nowhere_to_be_found": ""}
    assert libraries(b"def (") == {}
    assert source_digest(b"def (") != source_digest(b"def )")
