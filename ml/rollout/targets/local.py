"""Deploy on a laptop: which model a project serves is written in files, answers come in-process."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.rollout.target import (
    Answer,
    BusyError,
    Deployed,
    Insist,
    Progress,
    Release,
    ReplacedError,
    Side,
    UnansweredError,
    View,
)
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.manifest import Row
from ml.serving.predictors import load


@dataclass(frozen=True)
class _Pin:
    """What a side is told to run."""

    version: str
    model_uri: str
    sha256: str


@dataclass(frozen=True)
class LocalTarget:
    """Two sides in a folder: `<project>/blue.json`, `<project>/green.json` and `live`."""

    folder: Path

    @classmethod
    def from_environment(cls) -> LocalTarget:
        """Use the folder SLIPWAY_SERVING_DIR, by default ./local/serving."""
        return cls(Path(os.environ.get("SLIPWAY_SERVING_DIR", "local/serving")))

    @contextmanager
    def hold(self, project: str) -> Iterator[Insist]:
        """Hold the project's lock file; BusyError when another process does.

        The system keeps the lock for as long as the process lives, so that it can be lost only
        with the file: when someone removes the folder, another process may lock a new one.
        """
        place = self.folder / project
        place.mkdir(parents=True, exist_ok=True)
        with (place / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(f"another roll-out of {project} is under way here") from None

            def insist() -> None:
                if not _is_at(lock.fileno(), place / "lock"):
                    raise ReplacedError(f"{place}/lock was removed while this one was at work")

            yield insist

    def view(self, project: str) -> View:
        """What the files say; a side whose model no longer loads is not ready."""
        try:
            live = Side((self.folder / project / "live").read_text())
        except FileNotFoundError:
            live = None
        return View(live, {side: self._deployed(project, side) for side in Side})

    def deploy(self, release: Release, side: Side) -> None:
        """Pin the side to the release."""
        pin = _Pin(release.version, release.model_uri, release.sha256)
        self._write(release.project, f"{side}.json", json.dumps(asdict(pin)))

    def progress(self, release: Release, side: Side) -> Iterator[Progress]:
        """Yield once whether the model loads: here it does so at once or never."""
        try:
            self._predict(release.project, side, release.sample)
        except UnansweredError as error:
            yield Progress(1, 0, problem=str(error))
        else:
            yield Progress(1, 1)

    def ask_side(self, project: str, side: Side, rows: Sequence[Row]) -> Sequence[Answer]:
        """Load the side's model and predict."""
        return [self._predict(project, side, rows)]

    def ask_users_way(self, project: str, rows: Sequence[Row]) -> Answer:
        """Predict with the side that is live."""
        live = self.view(project).live
        if live is None:
            raise UnansweredError(f"no side of {project} is live")
        return self._predict(project, live, rows)

    def select(self, project: str, side: Side | None) -> None:
        """Point `live` at the side."""
        if side is None:
            (self.folder / project / "live").unlink(missing_ok=True)
        else:
            self._write(project, "live", str(side))

    def stop(self, project: str, side: Side) -> None:
        """Forget what the side was pinned to."""
        (self.folder / project / f"{side}.json").unlink(missing_ok=True)

    def endpoint(self, project: str) -> str:
        """The file that names the live side."""
        return str(self.folder / project / "live")

    def _write(self, project: str, name: str, content: str) -> None:
        place = self.folder / project
        place.mkdir(parents=True, exist_ok=True)
        unfinished = place / f".{name}.{os.getpid()}"
        unfinished.write_text(content)
        unfinished.replace(place / name)

    def _pin(self, project: str, side: Side) -> _Pin | None:
        try:
            return _Pin(**json.loads((self.folder / project / f"{side}.json").read_text()))
        except FileNotFoundError:
            return None

    def _deployed(self, project: str, side: Side) -> Deployed:
        pin = self._pin(project, side)
        if pin is None:
            return Deployed()
        try:
            fetch(pin.model_uri, pin.sha256)
        except ArtifactError:
            return Deployed(pin.version, pin.model_uri, pin.sha256, wanted=1, ready=0)
        return Deployed(pin.version, pin.model_uri, pin.sha256, wanted=1, ready=1)

    def _predict(self, project: str, side: Side, rows: Sequence[Row]) -> Answer:
        source = f"the {side} side of {project}"
        pin = self._pin(project, side)
        if pin is None:
            raise UnansweredError(f"{source} runs nothing")
        try:
            predictor = load(*fetch(pin.model_uri, pin.sha256))
        except ArtifactError as error:
            raise UnansweredError(f"{source} can't load its model: {error}") from error
        return Answer(source, pin.version, predictor(rows))


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that is at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
