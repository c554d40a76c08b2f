"""The gate: what was measured, weighed against what the project asks for."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ml.core.project import Gate
from ml.serving.manifest import Trained
from ml.training.intervals import FEWEST, Interval
from ml.training.slices import Slice
from ml.training.telling import Telling

GUESSING = 0.5


@dataclass(frozen=True)
class Measured:
    """Everything the decision rests on; `champion` and `gain` are None without a rival.

    `clusters` counts what the intervals rest on; `telling` is there when the candidate's score is
    above what the gate takes for possible.
    """

    candidate: Interval
    latency_ms: float
    clusters: int
    champion: Interval | None = None
    gain: Interval | None = None
    slices: list[Slice] = field(default_factory=list)
    telling: Telling | None = None


@dataclass(frozen=True)
class Unmeasured:
    """A champion that can't be measured on the holdout's days, and why."""

    version: str
    why: str


@dataclass(frozen=True)
class Decision:
    """Deploy or refuse, and why, in one sentence."""

    deploy: bool
    reason: str


def decide(
    gate: Gate,
    measured: Measured,
    holdout_from: str,
    rival: Trained | None,
    unmeasured: Unmeasured | None = None,
) -> Decision:
    """Weigh the measurements against the gate; the first thing that speaks against it counts."""
    objections = _objections(gate, measured, holdout_from, rival)
    objection = next(objections, None) or _no_comparison(gate, unmeasured)
    if objection:
        return Decision(False, objection)
    if unmeasured:
        versus = (
            f"the champion, version {unmeasured.version}, can't be measured on these days "
            f"({unmeasured.why}), and project.yaml lets it be replaced all the same"
        )
    elif measured.champion is None or measured.gain is None:
        versus = "there is no champion to compare it with"
    elif measured.gain.low > 0:
        versus = f"better than the champion's {measured.champion.value:.3f} by {measured.gain}"
    else:
        versus = (
            f"against the champion's {measured.champion.value:.3f} the gain is {measured.gain}, "
            f"surely above {gate.min_gain:g}, which is all that is asked"
        )
    return Decision(True, f"AUC {measured.candidate} on the holdout; {versus}")


def _objections(
    gate: Gate, measured: Measured, holdout_from: str, rival: Trained | None
) -> Iterator[str]:
    yield from _doubts(gate, measured)
    floor = GUESSING + gate.min_skill
    if not measured.candidate.low > floor:
        yield f"AUC {measured.candidate} is not surely above {floor:.3f}, the least that is asked"
    if measured.latency_ms > gate.max_latency_ms:
        yield (
            f"one prediction takes {measured.latency_ms:.1f} ms, "
            f"{gate.max_latency_ms:.1f} ms are allowed"
        )
    if rival and rival.train_until >= holdout_from:
        yield (
            f"the champion (trained for {rival.as_of}) has learnt from this holdout, "
            f"as it knows days up to {rival.train_until}: no fair comparison"
        )
    if measured.gain and not measured.gain.low > gate.min_gain:
        yield (
            f"AUC {measured.candidate.value:.3f} against the champion's "
            f"{_value(measured.champion)}: the gain {measured.gain} "
            f"is not surely above {gate.min_gain:g}"
        )
    for part in measured.slices:
        if part.loss and part.rows >= gate.min_slice_rows and part.loss.low > gate.max_slice_loss:
            yield (
                f"{part.column} {part.value} would lose {part.loss}, surely above "
                f"{gate.max_slice_loss:g}: AUC {part.candidate:.3f} against the champion's "
                f"{_value(part.champion)} over {part.rows} rows"
            )


def _no_comparison(gate: Gate, unmeasured: Unmeasured | None) -> str | None:
    """Refuse what can't be compared, unless a person has named the version that may go."""
    if unmeasured is None or str(gate.replace) == unmeasured.version:
        return None
    return (
        f"the champion, version {unmeasured.version}, can't be measured on these days: "
        f"{unmeasured.why}; to have it replaced all the same, write `replace: "
        f"{unmeasured.version}` under gate in project.yaml and run the day again"
    )


def _doubts(gate: Gate, measured: Measured) -> Iterator[str]:
    """Say why the measurements themselves are not to be believed."""
    if measured.clusters < FEWEST:
        yield (
            f"nobody knows how sure the AUC of {measured.candidate.value:.3f} is, as all that is "
            "true, or all that is not, counts as one cluster: let days.holdout be longer, "
            "features() return a 'time', or gate.clusters name what rows of a cluster share"
        )
    if measured.telling and measured.candidate.value > gate.max_score:
        alone = f"'{measured.telling.column}' alone has {measured.telling.score:.3f}"
        yield (
            f"AUC {measured.candidate.value:.4f} is too good to be true, {alone}: look whether it "
            "is known before the target is, and name what it is made from under known_later; if "
            f"the problem is that easy, set gate.max_score, now {gate.max_score:g}, to 1"
        )


def _value(score: Interval | float | None) -> str:
    return f"{score.value if isinstance(score, Interval) else score or 0:.3f}"
