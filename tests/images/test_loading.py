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
# Files in $STATE: has (the engine's images), calls (what was asked of engine and nodes), blobs.
ENGINE = r"""#!/usr/bin/env bash
case "$1 $*" in
"exec "*"content ls"* | "exec "*"images ls"*) exit ;;
esac
echo "${*//$'\n'/ }" >>"$STATE/calls"
case "$1" in
version) echo 29 ;;
image) grep -qxF "${*: -1}" "$STATE/has" ;;
ps) [ -n "${NO_CLUSTER-}" ] || printf 'one\ntwo\n' ;;
build)
    cat >/dev/null
    while [ "$1" != --tag ]; do shift; done
    echo "$2" >>"$STATE/has" ;;
save)
    digest="$(sha256sum <<<"$2" | cut -d ' ' -f 1)"
    mkdir -p "$STATE/blobs/sha256"
    cat >"$STATE/blobs/sha256/$digest" <<<"${SAVES-$2}"
    tar --create --directory "$STATE" "blobs/sha256/$digest"
    [ -z "${BREAKS_OFF-}" ] ;;
load) [ -z "${REFUSES-}" ] && basename "${*: -1}" .tar | sed 's/_/\//; s/_/:/' >>"$STATE/has" ;;
inspect) [ -z "${KEEPS_VAR-}" ] || echo "$STATE/var/${*: -1}" ;;
cp) [ "${3%%:*}" != "${FULL_NODE-}" ] ;;
exec) case "$*" in *"images import"*) [ -z "${REFUSES-}" ] ;; esac ;;
esac
"""


@dataclass(frozen=True)
class Loading:
    """A machine of the test's own, with two nodes."""

    folder: Path

    def run(self, *arguments: str, **how: str) -> subprocess.CompletedProcess[str]:
        """Bring an image to both nodes."""
        (self.folder / "calls").write_text("")
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("SLIPWAY_", "DOCKER_"))}
        env = kept | how | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "SLIPWAY_CACHE": str(self.folder / "cache"),
            "STATE": str(self.folder),
        }  # fmt: skip
        command = [str(ROOT / "k8s/images/build"), *arguments, "postgres"]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def lose_images(self) -> None:
        """Do to the engine what `make down` does."""
        (self.folder / "has").write_text("debian:bookworm-slim\n")

    @property
    def archives(self) -> list[Path]:
        """Return what the cache keeps."""
        return list((self.folder / "cache/images").iterdir())

    @property
    def half_done(self) -> list[Path]:
        """Return what is left of work that has ended."""
        return list((self.folder / "cache/tmp").iterdir())

    def asked(self, what: str) -> bool:
        """Whether the last run asked this of the engine itself."""
        calls = (self.folder / "calls").read_text().splitlines()
        return any(call.split()[0] == what for call in calls)

    def reached(self, end: str) -> set[str]:
        """Return the nodes on which a command that ends so was run."""
        calls = (self.folder / "calls").read_text().splitlines()
        return {call.split()[1] for call in calls if call.startswith("exec ") and end in call}


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    engine = tmp_path / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    made = Loading(tmp_path)
    made.lose_images()
    return made


def postgres_tag() -> str:
    command = [str(ROOT / "k8s/images/build"), "--tags"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split("\t") for line in lines)["postgres"]


def test_missing_image_is_built_kept_by_its_tag_and_loaded(loading: Loading) -> None:
    done = loading.run()
    assert done.returncode == 0, done.stderr
    assert "postgres: on 2 node(s)" in done.stderr
    assert loading.asked("build")
    assert [file.name for file in loading.archives] == [f"slipway_postgres_{postgres_tag()}.tar"]
    assert (loading.reached(" rm -f /"), loading.half_done) == ({"one", "two"}, [])


def test_image_with_an_archive_reaches_the_nodes_without_the_engine(loading: Loading) -> None:
    loading.run()
    loading.lose_images()
    done = loading.run()
    assert done.returncode == 0, done.stderr
    assert loading.reached("images import") == {"one", "two"}
    assert not any(loading.asked(what) for what in ("build", "save", "load", "import"))


def test_archive_of_an_image_in_the_engine_is_saved_without_building(loading: Loading) -> None:
    loading.run()
    loading.archives[0].unlink()
    assert loading.run().returncode == 0
    assert (loading.asked("save"), loading.asked("build")) == (True, False)


def test_archives_of_other_tags_go_when_one_is_made(loading: Loading) -> None:
    loading.run()
    (old,) = loading.archives
    old.rename(old.with_name("slipway_postgres_0123456789ab.tar"))
    assert loading.run().returncode == 0
    assert loading.archives == [old]


def test_archive_that_was_cut_off_is_made_anew(loading: Loading) -> None:
    loading.run()
    loading.lose_images()
    (archive,) = loading.archives
    size = archive.stat().st_size
    os.truncate(archive, 700)
    done = loading.run()
    assert done.returncode == 0, done.stderr
    assert loading.asked("build")
    assert archive.stat().st_size == size


def test_damaged_archive_is_removed_when_nodes_refuse_it(loading: Loading) -> None:
    assert loading.run(SAVES="something else").returncode == 0
    done = loading.run(REFUSES="1")
    assert done.returncode != 0
    assert "the archive was damaged, and is removed" in done.stderr
    assert loading.archives == []


def test_sound_archive_stays_when_nodes_refuse_it(loading: Loading) -> None:
    loading.run()
    done = loading.run(REFUSES="1")
    assert done.returncode != 0
    assert "damaged" not in done.stderr
    assert len(loading.archives) == 1


def test_engine_gets_an_image_from_its_archive_when_it_is_to_have_it(loading: Loading) -> None:
    loading.run()
    loading.lose_images()
    done = loading.run("--engine")
    assert done.returncode == 0, done.stderr
    assert (loading.asked("load"), loading.asked("build")) == (True, False)
    assert f"slipway/postgres:{postgres_tag()}" in (loading.folder / "has").read_text()


def test_image_stays_with_the_engine_when_there_is_no_cluster(loading: Loading) -> None:
    loading.run()
    loading.lose_images()
    assert loading.run(NO_CLUSTER="1").returncode == 0
    assert (loading.asked("load"), loading.asked("build")) == (True, False)


def test_archive_that_the_engine_refuses_is_removed_and_the_image_built(loading: Loading) -> None:
    loading.run()
    loading.lose_images()
    done = loading.run(NO_CLUSTER="1", REFUSES="1")
    assert done.returncode == 0, done.stderr
    assert "is damaged, and removed" in done.stderr
    assert (loading.asked("build"), loading.archives) == (True, [])


def test_node_whose_files_are_here_gets_its_copy_without_the_engine(loading: Loading) -> None:
    folders = [loading.folder / "var" / node for node in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    assert loading.run(KEEPS_VAR="1").returncode == 0
    name = f"slipway_postgres_{postgres_tag()}.tar"
    assert [[file.name for file in folder.iterdir()] for folder in folders] == [[name], [name]]
    assert not loading.asked("cp")
    assert loading.reached("images import") == {"one", "two"}


def test_full_node_is_named_and_freed(loading: Loading) -> None:
    done = loading.run(FULL_NODE="two")
    assert done.returncode != 0
    assert "two could not take the image" in done.stderr
    assert "one could not" not in done.stderr
    assert (loading.reached(" rm -f /"), loading.half_done) == ({"one", "two"}, [])


def test_engine_that_breaks_off_leaves_no_archive(loading: Loading) -> None:
    done = loading.run(BREAKS_OFF="1")
    assert done.returncode != 0
    assert (loading.archives, loading.half_done) == ([], [])
