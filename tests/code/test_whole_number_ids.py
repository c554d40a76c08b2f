"""Ids that are whole numbers, from landing to monitoring."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.code.production import Production
from tests.code.workshop import AS_OF, Workshop, parcels

pytestmark = pytest.mark.filterwarnings("default")


def numbered(day: date) -> pl.DataFrame:
    ids = pl.int_range(pl.len()) + 1000 * day.toordinal()
    return parcels(day).with_columns(id=ids)


def test_labels_find_their_predictions(tmp_path: Path, database: Path) -> None:
    """Predictions name ids in text: labels that had them as numbers were refused by monitor."""
    workshop = Workshop.at(tmp_path, database)
    file = workshop.project / "project.yaml"
    file.write_text(file.read_text().replace("id: str", "id: int"))
    next_day = AS_OF + timedelta(days=1)
    for back in range(9):
        day = next_day - timedelta(days=back)
        workshop.land(day, numbered(day))
    done = workshop.run()
    assert done.returncode == 0, done.stderr
    shop = Production(workshop, workshop.folder / "local/mlflow.db")
    predictions = pl.read_parquet(shop.score(next_day))
    assert predictions["id"].to_list() == [str(n) for n in numbered(next_day)["id"]]
    found = shop.findings(shop.report(next_day) and shop.monitor(next_day))
    assert (found.window.scored, found.window.labelled) == (150, 150)
