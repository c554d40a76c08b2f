"""report: what monitoring found, as one page that needs nothing but itself."""

from collections.abc import Iterable
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job
from ml.core.ledger import Outcome, once, publish, read_outputs, upstream
from ml.core.record import Record, Result
from ml.core.store import sha256
from ml.monitoring.findings import MONITORING, Model, Monitoring, Reading
from ml.monitoring.svg import Axes, Bar, Chart, Level, Value, axes, series, stacked
from ml.registry.aliases import TAG
from ml.registry.tracking import connected
from ml.stages import Stage
from ml.training.intervals import Interval

if TYPE_CHECKING:
    from jinja2 import Template

PAGE = Path(__file__).with_name("report.html.jinja")
LOOKS = ("own", "other-1", "other-2", "other-3")


def run(job: Job) -> Result:
    """Publish the page of what monitor found, and show it in MLflow too."""
    found = upstream(job, Stage.MONITOR)
    key = fingerprint(
        stage=Stage.REPORT,
        monitoring=found.fingerprint,
        page=sha256(PAGE.read_bytes()),
        code=code_digest(__name__),
        versions=versions("jinja2"),
    )

    def work(folder: str) -> Outcome:
        (content,) = read_outputs(job, Stage.MONITOR, [found.outputs[MONITORING]])
        page = render(Monitoring.model_validate_json(content), found)
        output = publish(job.stores.data, folder, "report.html", page.encode(), None)
        facts = {name: found.facts[name] for name in Stage.REPORT.tells if name in found.facts}
        facts["report"] = output.uri
        _show_in_mlflow(job, facts, page)
        return Outcome({"report": output}, facts)

    return once(job, Stage.REPORT, key, work)


def _show_in_mlflow(job: Job, facts: dict[str, Any], page: str) -> None:
    """Put the page and the decision beside the numbers of the day."""
    run_id = str(facts["run_id"])
    with connected(job) as client:
        client.log_text(run_id, page, "report.html")
        for name in ("decision", "reason", "report"):
            client.set_tag(run_id, f"{TAG}{name}", str(facts[name]))


def render(found: Monitoring, record: Record) -> str:
    """Write the page; the same findings give the same bytes."""
    return _template().render(
        found=found,
        record=record,
        days=found.rules.until(found.as_of),
        charts=[_quality(found), _shares(found), _rows(found), _brier(found)],
        others=sorted({r.model.version for r in found.readings if r.model != found.model}),
    )


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"share": _share, "count": _count, "decimal": _decimal, "day": _day}
    return environment.from_string(PAGE.read_text())


def _share(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.1%}"


def _count(value: int) -> str:
    return f"{value:,}"


def _decimal(value: float | Interval | None, digits: int = 3) -> str:
    number = value.value if isinstance(value, Interval) else value
    return "\u2013" if number is None else f"{number:.{digits}f}"


def _day(value: date) -> str:
    return f"{value.day} {value:%B %Y}"


def _own(found: Monitoring) -> list[Reading]:
    return [reading for reading in found.readings if reading.model == found.model]


def _quality(found: Monitoring) -> Chart:
    """Draw the AUC of every model's days against the gate's and the limits below it."""
    limits = _limits(found)
    models = sorted({r.model for r in found.readings}, key=lambda m: (m != found.model, m.version))
    by_model = {model: list(_aucs(found.readings, model)) for model in models}
    bounds = [b for values in by_model.values() for v in values for b in (v.low, v.high)]
    known = [bound for bound in bounds if bound is not None]
    where = axes(found.rules.until(found.as_of), known + [value for value, _, _ in limits])
    drawn = [
        series(where, f"AUC of version {model.version}", look, by_model[model], 3, shift=n * 6)
        for n, (model, look) in enumerate(zip(models, LOOKS, strict=False))
    ]
    levels = [Level(where.y(value), text, look) for value, text, look in limits]
    return Chart(
        "Quality",
        "AUC per day with its 90 % interval: how often a positive is scored above a negative.",
        where,
        series=drawn,
        levels=levels,
        legend=[(one.look, one.name) for one in drawn],
    )


def _limits(found: Monitoring) -> list[tuple[float, str, str]]:
    if found.gate is None:
        return []
    gate, rules = found.gate.auc.value, found.rules
    return [
        (gate, f"at the gate {gate:.3f}", "gate"),
        (gate - rules.watch_drop, f"watch {gate - rules.watch_drop:.3f}", "watch"),
        (gate - rules.retrain_drop, f"retrain {gate - rules.retrain_drop:.3f}", "retrain"),
    ]


def _aucs(readings: Iterable[Reading], model: Model) -> Iterable[Value]:
    for reading in readings:
        auc = reading.measures.auc
        if reading.model == model and auc:
            yield Value(reading.day, auc.value, auc.low, auc.high)


def _shares(found: Monitoring) -> Chart:
    """Draw what was predicted against what came true."""
    own = _own(found)
    means = [Value(r.day, v) for r in own if (v := r.measures.mean_score) is not None]
    rates = [Value(r.day, v) for r in own if (v := r.measures.positive_rate) is not None]
    every = [value.value for value in means + rates]
    where = axes(found.rules.until(found.as_of), every, from_zero=True)
    drawn = [
        series(where, "mean score", "own", means, 3),
        series(where, "share that came true", "truth", rates, 3),
    ]
    return Chart(
        "Predicted and true",
        "Mean score per day, and the share of positives among the labels that have arrived.",
        where,
        "%",
        series=drawn,
        legend=[(one.look, one.name) for one in drawn],
    )


def _rows(found: Monitoring) -> Chart:
    """Draw how many rows there were and what became of them."""
    own = _own(found)
    where = axes(
        found.rules.until(found.as_of), [float(r.measures.rows) for r in own], from_zero=True
    )
    return Chart(
        "Rows",
        "Rows per day by what became of them.",
        where,
        bars=[bar for reading in own for bar in _bars(where, reading)],
        legend=[
            ("labelled", "scored, label arrived"),
            ("waiting", "scored, no label yet"),
            ("refused", "refused"),
        ],
    )


def _bars(where: Axes, reading: Reading) -> list[Bar]:
    seen = reading.measures
    parts = [
        (seen.labelled, "labelled", "rows with a label"),
        (seen.scored - seen.labelled, "waiting", "rows without a label"),
        (seen.refused, "refused", "rows refused"),
    ]
    return stacked(where, reading.day, parts)


def _brier(found: Monitoring) -> Chart:
    """Draw how far the scores were off."""
    values = [Value(r.day, v) for r in _own(found) if (v := r.measures.brier) is not None]
    where = axes(found.rules.until(found.as_of), [v.value for v in values], from_zero=True)
    drawn = series(where, "Brier score", "own", values, 4)
    return Chart(
        "Error",
        "Brier score per day: the mean squared distance of a score from the truth. Low is good.",
        where,
        series=[drawn],
    )
