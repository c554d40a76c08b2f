"""Images go to the nodes as files that the cache keeps; what fails is named and leaves nothing.

The engine is a script of the test's own: a full node and an engine that breaks off can't be ordered
from a real one. With a real one, every `make up` loads.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = r"""#!/usr/bin/env bash
case "$1" in
version) echo 29 ;;
image) echo "sha256:$IMAGE_ID" ;;
ps) printf 'one\ntwo\n' ;;
save) tar --create --files-from=/dev/null; [ -z "${BREAKS_OFF-}" ] ;;
cp) [ "${3%%:*}" != "${FULL_NODE-}" ] ;;
exec) case "$*" in *"content ls"* | *"images ls"*) ;; *) echo "$*" >>"$CALLS" ;; esac ;;
esac
"""


@dataclass(frozen=True)
class Loading:
    """A machine of the test's own, with two nodes."""

    folder: Path

    def run(
        self, image_id: str = "0123456789abcdef", **how: str
    ) -> subprocess.CompletedProcess[str]:
        """Load an image that exists into both nodes."""
        engine = self.folder / "bin" / "docker"
        engine.parent.mkdir(exist_ok=True)
        engine.write_text(ENGINE)
        engine.chmod(0o755)
        (self.folder / "calls").write_text("")
        env = os.environ | how | {
            "PATH": f"{engine.parent}:{os.environ['PATH']}",
            "SLIPWAY_CACHE": str(self.folder / "cache"),
            "CALLS": str(self.folder / "calls"),
            "IMAGE_ID": image_id,
        }  # fmt: skip
        command = [str(ROOT / "k8s/images/build"), "postgres"]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    @property
    def archives(self) -> list[str]:
        """Return the ends of the names of what the cache keeps."""
        return [file.name.split("_")[-1] for file in (self.folder / "cache/images").iterdir()]

    @property
    def half_done(self) -> list[Path]:
        """Return what is left of work that has ended."""
        return list((self.folder / "cache/tmp").iterdir())

    def removed(self) -> set[str]:
        """Return the nodes from which the copy was removed."""
        calls = (self.folder / "calls").read_text().splitlines()
        return {call.split()[1] for call in calls if " rm -f /root/" in call}


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


def test_archive_is_made_once_for_an_image(loading: Loading) -> None:
    done = loading.run()
    assert done.returncode == 0, done.stderr
    assert "postgres: on 2 node(s)" in done.stderr
    assert loading.archives == ["0123456789ab.tar"]
    assert loading.run(BREAKS_OFF="1").returncode == 0  # so it did not save again
    assert (loading.removed(), loading.half_done) == ({"one", "two"}, [])


def test_image_that_was_built_again_has_an_archive_of_its_own(loading: Loading) -> None:
    loading.run()
    assert loading.run("fedcba9876543210").returncode == 0
    assert loading.archives == ["fedcba987654.tar"]


def test_full_node_is_named_and_freed(loading: Loading) -> None:
    done = loading.run(FULL_NODE="two")
    assert done.returncode != 0
    assert "two could not take the image" in done.stderr
    assert "one could not" not in done.stderr
    assert (loading.removed(), loading.half_done) == ({"one", "two"}, [])


def test_engine_that_breaks_off_leaves_no_archive(loading: Loading) -> None:
    done = loading.run(BREAKS_OFF="1")
    assert done.returncode != 0
    assert "postgres: loading failed" in done.stderr
    assert (loading.archives, loading.half_done) == ([], [])
