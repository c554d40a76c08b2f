"""What monitoring decides, as a table: no store, no MLflow, no model."""

from __future__ import annotations

import math
from datetime import date

import pytest

from ml.core.project import Monitor
from ml.monitoring.findings import GateRecord, Measures, Model, Reading, Signal, Verdict
from ml.monitoring.retraining import weigh
from ml.monitoring.signals import decide, drop, predictions, quality
from ml.training.intervals import Interval

RULES = Monitor(window=7, min_rows=300, watch_drop=0.02, retrain_drop=0.05, cool_down=7)
DAY = date(2013, 3, 8)


def around(value: float, half: float = 0.01) -> Interval:
    return Interval(value, value - half, value + half)


def seen(auc: Interval | None = None, labelled: int = 5000, scored: int = 5000) -> Measures:
    return Measures(scored=scored, refused=0, labelled=labelled, auc=auc)


def gate(auc: Interval) -> GateRecord:
    return GateRecord(auc=auc, as_of=date(2013, 3, 1), record="s3://data/record.json")


# AUC now, at the gate 0.75 (0.74 to 0.76): both half widths are 0.01, so the drop's is 0.014.
TABLE = [
    (0.76, Verdict.HEALTHY, "within 0.02 (+0.010)"),
    (0.75, Verdict.HEALTHY, "within 0.02 (+0.000)"),
    (0.731, Verdict.HEALTHY, "within 0.02 (-0.019)"),
    (0.729, Verdict.WATCH, "more than 0.02 lower (-0.021)"),
    # 0.06 lower, but it may be 0.046 only: not sure enough.
    (0.69, Verdict.WATCH, "more than 0.02 lower (-0.060)"),
    (0.685, Verdict.RETRAIN, "surely more than 0.05 lower (-0.065)"),
    (0.50, Verdict.RETRAIN, "surely more than 0.05 lower (-0.250)"),
]


@pytest.mark.parametrize(("now", "verdict", "words"), TABLE)
def test_quality_is_measured_against_the_gate(now: float, verdict: Verdict, words: str) -> None:
    signal = quality(RULES, seen(around(now)), gate(around(0.75)), days=7)
    assert signal.verdict == verdict
    assert words in signal.reason
    assert f"AUC {around(now)} over 5,000 rows against 0.750 at the gate" in signal.reason


LITTLE = [
    (seen(None, labelled=0), 7, Verdict.WATCH, "no label has arrived for 5,000 scored rows"),
    (seen(None, labelled=0), 2, Verdict.HEALTHY, "only 2 of 7 days"),
    (seen(around(0.4), labelled=299), 7, Verdict.WATCH, "299 rows have a label, 300 are needed"),
    (seen(around(0.4), labelled=299), 6, Verdict.HEALTHY, "only 6 of 7 days"),
    (seen(None, labelled=400), 7, Verdict.WATCH, "all 400 labels are the same"),
]


@pytest.mark.parametrize(("measures", "days", "verdict", "words"), LITTLE)
def test_too_little_never_retrains(
    measures: Measures, days: int, verdict: Verdict, words: str
) -> None:
    signal = quality(RULES, measures, gate(around(0.75)), days)
    assert signal.verdict == verdict
    assert words in signal.reason


def test_a_model_without_a_gate_record_is_watched() -> None:
    signal = quality(RULES, seen(around(0.4)), None, days=7)
    assert signal.verdict == Verdict.WATCH
    assert "no record of the gate" in signal.reason


def test_bounds_of_a_drop_come_from_both_sides() -> None:
    found = drop(Interval(0.75, 0.72, 0.77), Interval(0.70, 0.66, 0.74))
    assert found.value == pytest.approx(0.05)
    assert found.low == pytest.approx(0.05 - math.hypot(0.03, 0.04))
    assert found.high == pytest.approx(0.05 + math.hypot(0.02, 0.04))


def reading(day: int, refused: int = 0, reasons: dict[str, int] | None = None) -> Reading:
    measures = Measures(scored=1000 - refused, refused=refused, labelled=0)
    model = Model(version="1", sha256="ab")
    return Reading(day=date(2013, 3, day), model=model, measures=measures, reasons=reasons or {})


def test_every_day_and_no_refusal_is_healthy() -> None:
    signal = predictions(RULES, [reading(6), reading(7), reading(8)], DAY)
    assert signal.verdict == Verdict.HEALTHY
    assert signal.reason == "every day has predictions and no row was refused"


def test_a_few_refused_rows_are_healthy_and_many_are_watched() -> None:
    few = predictions(RULES, [reading(7), reading(8, 50)], DAY)
    assert (few.verdict, "at most 5.0%" in few.reason) == (Verdict.HEALTHY, True)
    many = predictions(RULES, [reading(7, 51, {"no carrier": 50, "no id": 1}), reading(8)], DAY)
    assert many.verdict == Verdict.WATCH
    assert "51 of 1,000 rows of 2013-03-07 were refused" in many.reason
    assert "most of them as no carrier" in many.reason


def test_a_day_without_predictions_is_watched_once_there_were_some() -> None:
    signal = predictions(RULES, [reading(5), reading(8)], DAY)
    assert signal.verdict == Verdict.WATCH
    assert "2013-03-06, 2013-03-07" in signal.reason


def test_the_decision_is_the_worst_verdict_for_its_own_reasons() -> None:
    def signal(name: str, verdict: Verdict) -> Signal:
        return Signal(name=name, verdict=verdict, reason=f"because of {name}")

    good, odd, strange, bad = (
        signal("a", Verdict.HEALTHY),
        signal("b", Verdict.WATCH),
        signal("c", Verdict.WATCH),
        signal("d", Verdict.RETRAIN),
    )
    assert decide([good]) == (Verdict.HEALTHY, "because of a")
    assert decide([odd, good, strange]) == (Verdict.WATCH, "because of b; because of c")
    assert decide([odd, bad, good]) == (Verdict.RETRAIN, "because of d")


def days(*numbers: int) -> set[date]:
    return {date(2013, 3, number) for number in numbers}


COOL = [
    # trained, asked, due
    (days(), days(), True),
    (days(1), days(), True),
    (days(2), days(), False),
    (days(8), days(), False),
    (days(9), days(), False),
    (days(), days(1), True),
    (days(), days(2), False),
    (days(), days(9), False),
    # A second look at the same day asks for the same run again.
    (days(), days(8), True),
    (days(1), days(8), True),
    (days(8), days(8), False),
]


@pytest.mark.parametrize(("trained", "asked", "due"), COOL)
def test_cool_down_counts_the_datas_own_days(
    trained: set[date], asked: set[date], due: bool
) -> None:
    found = weigh(7, DAY, trained, asked)
    assert found.due is due
    assert bool(found.note) is not due
    if not due:
        assert str(max(trained | asked)) in found.note


def test_no_cool_down_lets_every_day_train_once() -> None:
    assert weigh(0, DAY, days(7), days(7)).due
    assert not weigh(0, DAY, days(9), days()).due


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"retrain_drop \(0.01\) must not be below watch_drop"):
        Monitor(watch_drop=0.02, retrain_drop=0.01)
