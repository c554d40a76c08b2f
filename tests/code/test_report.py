"""The report as a page: it needs nothing but itself, and nothing in it is taken for markup."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import ClassVar

import pytest

from ml.core.project import Monitor
from ml.core.record import Output, Record
from ml.monitoring.findings import (
    GateRecord,
    Measures,
    Model,
    Monitoring,
    Reading,
    Signal,
    Training,
    Verdict,
)
from ml.monitoring.report import render
from ml.monitoring.svg import Value, axes, round_values, series, stacked
from ml.stages import Stage
from ml.training.intervals import Interval

AS_OF = date(2013, 3, 8)
RULES = Monitor(window=4)
MODEL = Model(version="3", sha256="ab" * 32)
GATE = GateRecord(auc=Interval(0.74, 0.73, 0.75), as_of=date(2013, 3, 1), record="s3://data/gate")
NASTY = "<script>alert('x')</script> & \"co\""
RECORD = Record(
    stage=Stage.MONITOR,
    project="flights",
    as_of=AS_OF,
    fingerprint="0" * 16,
    outputs={"monitoring": Output(uri="s3://data/found.json", sha256="", bytes=1)},
    facts={"run_id": "f" * 32},
    created_at=datetime(2013, 3, 9, 6, tzinfo=UTC),
)


def reading(back: int, auc: Interval | None, model: Model = MODEL) -> Reading:
    measures = Measures(
        scored=900,
        refused=9,
        labelled=800 if auc else 0,
        mean_score=0.2,
        positive_rate=0.25 if auc else None,
        auc=auc,
        log_loss=0.5 if auc else None,
        brier=0.15 if auc else None,
    )
    return Reading(day=AS_OF - timedelta(days=back), model=model, measures=measures, gate=GATE)


def page(
    decision: Verdict = Verdict.WATCH, auc: Interval | None = None, title: str = "Late?"
) -> str:
    readings = [reading(back, auc) for back in (3, 1, 0)]
    other = Model(version="2", sha256="cd" * 32)
    found = Monitoring(
        project="flights",
        title=title,
        as_of=AS_OF,
        rules=RULES,
        model=MODEL,
        gate=GATE if auc else None,
        champion="3",
        readings=[*readings, reading(0, auc, other)],
        window=readings[0].measures,
        signals=[Signal(name="quality", verdict=decision, reason=f"because of {title}")],
        decision=decision,
        reason=f"because of {title}",
        training=Training(
            due=decision == Verdict.RETRAIN, note=title if decision == Verdict.WATCH else ""
        ),
    )
    return render(found, RECORD)


class Tags(HTMLParser):
    """Collects a page's elements and makes sure that each is closed."""

    ALONE: ClassVar = {"meta", "line", "rect", "circle", "path", "polyline"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.ALONE:
            assert self.open.pop() == tag


@pytest.mark.parametrize("decision", list(Verdict))
@pytest.mark.parametrize("auc", [None, Interval(0.7, 0.65, 0.75)])
def test_page_is_whole_and_needs_nothing_else(decision: Verdict, auc: Interval | None) -> None:
    text = page(decision, auc)
    tags = Tags(text)
    assert tags.open == []
    names = {name for name, _ in tags.found}
    assert not names & {"script", "link", "img", "iframe", "object", "embed"}
    addresses = {"href", "src", "xlink:href", "action", "srcset"}
    assert not [one for _, attrs in tags.found for one in addresses & set(attrs)]
    assert not re.search(r"url\(|@import|https?://", text)
    assert decision.capitalize() in text
    assert text.startswith("<!doctype html>")


@pytest.mark.parametrize("decision", list(Verdict))
def test_nothing_from_outside_is_taken_for_markup(decision: Verdict) -> None:
    text = page(decision, Interval(0.7, 0.65, 0.75), NASTY)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert Tags(text).open == []


def test_the_same_findings_give_the_same_page() -> None:
    assert page(auc=Interval(0.7, 0.65, 0.75)) == page(auc=Interval(0.7, 0.65, 0.75))


def test_every_picture_says_in_words_what_it_shows() -> None:
    pictures = [
        attrs for name, attrs in Tags(page(auc=Interval(0.7, 0.6, 0.8))).found if name == "svg"
    ]
    assert all(attrs.get("aria-label") or attrs.get("aria-hidden") for attrs in pictures)
    assert sum(attrs.get("role") == "img" for attrs in pictures) == 4


def test_without_labels_it_says_so_instead_of_drawing() -> None:
    assert page().count("Nothing to show yet.") == 2


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1000, [0, 200, 400, 600, 800, 1000]),
        (0.65, 0.8, [0.65, 0.7, 0.75, 0.8]),
    ],
)
def test_axes_have_round_values(low: float, high: float, wanted: list[float]) -> None:
    assert round_values(low, high) == pytest.approx(wanted)


@pytest.mark.parametrize("values", [[], [0.0], [0.5], [0.731, 0.732], [3.0, 12345.0], [1e-6]])
def test_axes_hold_all_values(values: list[float]) -> None:
    days = RULES.until(AS_OF)
    for from_zero in (False, True):
        where = axes(days, values, from_zero=from_zero)
        assert all(where.low <= value <= where.high for value in values)
        assert len(where.value_ticks()) >= 2
        assert len({tick.text for tick in where.value_ticks()}) == len(where.value_ticks())


def test_a_missing_day_cuts_the_line() -> None:
    days = RULES.until(AS_OF)
    where = axes(days, [0, 1])
    drawn = series(
        where, "AUC", "own", [Value(days[0], 0.1), Value(days[1], 1), Value(days[3], 0)], 2
    )
    assert len(drawn.points) == 3
    (line,) = drawn.lines
    assert line.split(" ")[0] == f"{where.x(days[0])},{where.y(0.1)}"
    assert where.y(1) < where.y(0.1) < where.y(0)


def test_a_column_is_as_high_as_its_rows() -> None:
    days = RULES.until(AS_OF)
    where = axes(days, [100.0], from_zero=True)
    bars = stacked(
        where, days[0], [(60, "labelled", "a"), (0, "waiting", "b"), (40, "refused", "c")]
    )
    assert [bar.look for bar in bars] == ["labelled", "refused"]
    assert sum(bar.height for bar in bars) == pytest.approx(where.y(0) - where.y(100))


def test_few_dates_are_named_however_long_the_window() -> None:
    where = axes(Monitor(window=60).until(AS_OF), [0, 1])
    ticks = where.day_ticks()
    assert len(ticks) <= 7
    assert ticks[-1].text == "8 Mar"
