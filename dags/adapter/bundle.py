"""The DAG files as Airflow's DAG processor sees them: those of the image, under its revision."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion


class ImageBundle(BaseDagBundle):
    """A folder of the image; its version is the revision that the image was built from.

    Airflow then shows with each version of a DAG which revision it came from. Airflow's own bundle
    of a local folder has no version. An image has only its own revision, so runs are not to be
    pinned to one: set `[dag_processor] disable_bundle_versioning`.
    """

    supports_versioning = True

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._path = Path(path)

    @property
    def path(self) -> Path:
        """Return the folder."""
        return self._path

    def get_current_version(self) -> BundleVersion:
        """Return `SLIPWAY_REVISION`, which every image carries."""
        return BundleVersion(os.environ.get("SLIPWAY_REVISION") or "unknown")

    def refresh(self) -> None:
        """Do nothing: an image does not change."""
