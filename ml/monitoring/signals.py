"""The signals that say how a model in use does, and the decision they make together.

A signal is one way of looking: it takes what was measured and gives a verdict with its reason.
The decision is the worst verdict, for the reasons of all signals that gave it.
"""

import math
from collections.abc import Sequence
from datetime import date, timedelta

from ml.core.project import Monitor
from ml.monitoring.findings import GateRecord, Measures, Reading, Signal, Verdict
from ml.training.intervals import Interval

QUALITY, PREDICTIONS = "quality", "predictions"
SEVERITY = list(Verdict)


def decide(signals: Sequence[Signal]) -> tuple[Verdict, str]:
    """Take the worst verdict, and the reason of every signal that gave it."""
    worst = max((signal.verdict for signal in signals), key=SEVERITY.index)
    return worst, "; ".join(s.reason for s in signals if s.verdict == worst)


def quality(rules: Monitor, seen: Measures, gate: GateRecord | None, days: int) -> Signal:
    """Compare the AUC of the window with the AUC at the gate; `days` have predictions."""
    lacking = _lacking(rules, seen)
    if lacking:
        # A model that is in use for less than a window has had no time to show anything.
        young = days < rules.window
        note = f", but the model has only {days} of {rules.window} days" if young else ""
        return Signal(
            name=QUALITY,
            verdict=Verdict.HEALTHY if young else Verdict.WATCH,
            reason=f"too little to judge the model by: {lacking}{note}",
        )
    if gate is None or seen.auc is None:
        reason = f"AUC {seen.auc}, but there is no record of the gate to compare it with"
        return Signal(name=QUALITY, verdict=Verdict.WATCH, reason=reason)
    return _compared(rules, seen.auc, gate.auc, seen.labelled)


def _lacking(rules: Monitor, seen: Measures) -> str:
    if not seen.labelled:
        return f"no label has arrived for {seen.scored:,} scored rows"
    if seen.labelled < rules.min_rows:
        return f"{seen.labelled:,} rows have a label, {rules.min_rows:,} are needed"
    if seen.auc is None:
        return f"all {seen.labelled:,} labels are the same"
    return ""


def _compared(rules: Monitor, now: Interval, then: Interval, rows: int) -> Signal:
    loss = drop(then, now)
    numbers = f"AUC {now} over {rows:,} rows against {then.value:.3f} at the gate"
    if loss.low > rules.retrain_drop:
        verdict, reason = Verdict.RETRAIN, f"surely more than {rules.retrain_drop:g} lower"
    elif loss.value > rules.watch_drop:
        verdict, reason = Verdict.WATCH, f"more than {rules.watch_drop:g} lower"
    else:
        verdict, reason = Verdict.HEALTHY, f"within {rules.watch_drop:g}"
    return Signal(
        name=QUALITY,
        verdict=verdict,
        reason=f"{numbers}: {reason} ({now.value - then.value:+.3f})",
    )


def drop(then: Interval, now: Interval) -> Interval:
    """Measure how much lower `now` is than `then`, which was measured on other rows.

    The bounds of a difference come from the bounds of both parts (Zou and Donner, 2008).
    """
    value = then.value - now.value
    down = math.hypot(then.value - then.low, now.high - now.value)
    up = math.hypot(then.high - then.value, now.value - now.low)
    return Interval(value, value - down, value + up)


def predictions(rules: Monitor, readings: Sequence[Reading], as_of: date) -> Signal:
    """Look for rows that were refused, and for days without any prediction."""
    worst = max(readings, key=lambda reading: reading.measures.refused_share)
    share = worst.measures.refused_share
    missing = _gaps({reading.day for reading in readings}, as_of)
    found = []
    if share > rules.max_refused:
        found.append(
            f"{worst.measures.refused:,} of {worst.measures.rows:,} rows of {worst.day} were "
            f"refused ({share:.1%}, {rules.max_refused:.1%} are allowed){_most(worst)}"
        )
    if missing:
        found.append(f"there are no predictions for {', '.join(map(str, missing))}")
    if found:
        return Signal(name=PREDICTIONS, verdict=Verdict.WATCH, reason="; ".join(found))
    most = f"at most {share:.1%} of a day's rows were refused" if share else "no row was refused"
    reason = f"every day has predictions and {most}"
    return Signal(name=PREDICTIONS, verdict=Verdict.HEALTHY, reason=reason)


def _gaps(days: set[date], as_of: date) -> list[date]:
    first = min(days)
    return [
        day
        for day in (first + timedelta(days=n) for n in range((as_of - first).days))
        if day not in days
    ]


def _most(reading: Reading) -> str:
    if not reading.reasons:
        return ""
    reason = max(reading.reasons, key=lambda name: reading.reasons[name])
    return f", most of them as {reason}"
