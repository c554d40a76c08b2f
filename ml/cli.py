"""The command line of every stage, the same on a laptop, in a pod and in a test."""

import getpass
import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import date, datetime
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml.core.errors import StageError
from ml.core.job import Job, doing, log
from ml.core.ledger import run_stage
from ml.core.record import Result, Status, results_as_json
from ml.core.settings import Settings
from ml.core.threads import cap_threads
from ml.stages import Stage

if TYPE_CHECKING:
    from ml.rollout.history import Word

# What a line of the log says of the Airflow task that started the stage, where one did.
IDS = ("dag_id", "task_id", "airflow_run_id")

app = typer.Typer(
    name="ml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The stages of a pipeline. Each finds its inputs by the record of the stage "
    "before, publishes its outputs once, and skips when they are there. With no SLIPWAY_* "
    "variable set, data, models and MLflow live under ./local.",
    epilog="Exit codes: 0 done or skipped, 1 may be tried again, 2 wrong usage, "
    "3 bad data or configuration, 4 roll-out refused.",
)

ProjectName = Annotated[str, typer.Option("--project", "-p", help="Name of the project.")]
AsOf = Annotated[
    datetime, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Last day of data to use.")
]
By = Annotated[str, typer.Option("--by", help="Who wants it; by default this system's user.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever asks later.")]
Upstream = Annotated[
    str | None,
    typer.Option("--upstream", help="Record URI that the stage before printed."),
]


def add_verbs() -> None:
    """Make every stage a command: `build-features`, and as tasks are named, `build_features`."""
    for stage in Stage:
        command = _command(stage)
        app.command(stage.replace("_", "-"))(command)
        if "_" in stage:
            app.command(stage, hidden=True)(command)
    # As the verb was spelt before MLflow's spelling was taken.
    app.command("build-artefacts", hidden=True)(_command(Stage.BUILD_ARTIFACTS))


def _command(stage: Stage) -> Callable[..., None]:
    """Make a stage's function for the command line, with the options that mean something to it."""

    def command(
        as_of: datetime, project: str, upstream: str | None = None, days: int | None = None
    ) -> None:
        run_alone(stage, project, as_of, upstream, days)

    command.__name__, command.__doc__ = str(stage), stage.does
    command.__signature__ = Signature(list(_options(stage)))  # type: ignore[attr-defined]
    return command


def _options(stage: Stage) -> Iterator[Parameter]:
    def option(name: str, kind: object, default: object = Parameter.empty) -> Parameter:
        return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)

    yield option("as_of", AsOf)
    if stage.upstream:
        yield option("upstream", Upstream, None)
    if stage.days:
        days = Annotated[int | None, typer.Option("--days", min=1, help=stage.days)]
        yield option("days", days, None)
    yield option("project", ProjectName, "flights")


add_verbs()


@app.command("roll-back")
def roll_back(project: ProjectName = "flights", by: By = "", reason: Reason = "") -> None:
    """Give users the version before the champion back; the champion stays back until `give-back`.

    It is served from where it still runs, in seconds, or else started anew, and checked before
    users reach it. A second time goes one further back.
    """
    from ml.rollout.roll_back import run as go_back

    def work(job: Job) -> None:
        release = go_back(job, word_of(job, by, reason))
        typer.echo(f"users of {job.project} get version {release.version} again")

    at_edge("roll_back", project, date.today(), work)


@app.command("give-back")
def give_back(
    version: Annotated[str, typer.Option("--version", help="Number of the version.")],
    project: ProjectName = "flights",
    by: By = "",
    reason: Reason = "",
) -> None:
    """Let a version that was taken back serve again, when its day is run again or by roll-back."""
    from ml.rollout.give_back import run as give

    def work(job: Job) -> None:
        give(job, version, word_of(job, by, reason))
        typer.echo(
            f"version {version} of {job.project} may serve users again: run its day again, or "
            "clear roll_out in its run"
        )

    at_edge("give_back", project, date.today(), work)


def word_of(job: Job, by: str, reason: str) -> "Word":
    """Say who wants something and why: by default the DAG that runs this, or this system's user."""
    from ml.rollout.history import Word

    return Word(by or job.settings.dag_id or _user(), reason)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a number without a name
        return f"user {os.getuid()}"


@app.command()
def chain(
    stages: Annotated[list[Stage], typer.Argument(help="Neighbouring stages, in their order.")],
    as_of: AsOf,
    upstream: Upstream = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help=Stage.INGEST.days)] = None,
    project: ProjectName = "flights",
) -> None:
    """Do several stages in this process; what is done stays done when a later one fails."""
    from ml.pipeline import run_chain

    done: list[Result] = []

    def work(job: Job) -> None:
        for result in run_chain(stages, job):
            done.append(result)
            print_result(result)
            # After each, as this process may be killed in the next.
            deliver_all(done, len(stages), job.settings.result_path)
        log_usage()

    def failed(sentence: str, path: Path | None) -> None:
        lost = Result(stage=stages[len(done)], status=Status.FAILED, error=sentence)
        deliver_all([*done, lost], len(stages), path)

    at_edge("chain", project, as_of.date(), work, upstream, days, failed)


@app.command()
def run(as_of: AsOf, project: ProjectName = "flights") -> None:
    """Do every stage in order, in this process: the whole pipeline on a laptop."""
    from ml.pipeline import run_pipeline

    def work(job: Job) -> None:
        run_pipeline(job, print_result)
        log_usage()

    at_edge("run", project, as_of.date(), work)


@app.command()
def land(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day.")],
    project: ProjectName = "flights",
    replace: Annotated[
        bool, typer.Option("--replace", help="Land again over partitions that are damaged.")
    ] = False,
) -> None:
    """Copy days of the project's own source data (source.py) into the landing store."""
    from ml.data.landing import land as land_days

    def work(job: Job) -> None:
        landed = land_days(job, first.date(), replace=replace)
        typer.echo(f"landed {landed.new} days, {landed.kept} were there already")

    at_edge("land", project, last.date(), work)


def run_alone(
    name: Stage,
    project: str,
    as_of: datetime,
    upstream: str | None = None,
    days: int | None = None,
) -> None:
    """Run one stage and report how it ended to the person and to the caller."""

    def work(job: Job) -> None:
        result = run_stage(name, job)
        log_usage()
        deliver(result, job.settings.result_path)
        print_result(result)

    def failed(sentence: str, path: Path | None) -> None:
        deliver(Result(stage=name, status=Status.FAILED, error=sentence), path)

    at_edge(name, project, as_of.date(), work, upstream, days, failed)


def at_edge(
    name: str,
    project: str,
    as_of: date,
    work: Callable[[Job], Any],
    upstream: str | None = None,
    days: int | None = None,
    failed: Callable[[str, Path | None], None] = lambda _sentence, _path: None,
) -> None:
    """Read the settings, do the work, and turn any error into one sentence and an exit code."""
    settings = Settings.read()
    start_logging(name, project, as_of)
    signal.signal(signal.SIGTERM, _stop)
    try:
        work(Job.of(project, as_of, settings, upstream, days))
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        sentence = describe(error)
        typer.echo(f"error: {sentence}", err=True)
        log.error("failed: %s", sentence)
        failed(sentence, settings.result_path)
        raise typer.Exit(error.exit_code if isinstance(error, StageError) else 1) from None


def log_usage() -> None:
    """Say what the process has needed, for whoever sets requests and limits."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss >> 10
    log.info("took %.1f s of CPU and at most %d MiB of memory", cpu, peak)


def describe(error: Exception) -> str:
    """Say in one sentence what went wrong, and for the unexpected, where."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, StageError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    frame = next(f for f in reversed(frames) if not f.filename.startswith("<"))
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"unexpected {type(error).__name__} at {where}: {text} (SLIPWAY_DEBUG=1 shows all of it)"


def deliver(result: Result, path: Path | None) -> None:
    """Hand the result to the caller, where one asked for it."""
    if path is not None:
        path.write_text(result.as_json())


def deliver_all(results: list[Result], room_for: int, path: Path | None) -> None:
    """Hand the results of several stages to the caller, where one asked for them."""
    if path is not None:
        path.write_text(results_as_json(results, room_for))


def print_result(result: Result) -> None:
    """Say to a person how a stage ended."""
    facts = " ".join(f"{key}={value}" for key, value in result.facts.items())
    typer.echo(f"{result.stage}: {result.status} {facts} {result.record}".replace("  ", " "))


class _OneLine(logging.Formatter):
    """Keeps a line a line, so that its ids are never far from what was said."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(super().format(record).splitlines())


def start_logging(name: str, project: str, as_of: date) -> None:
    """Write progress to stdout: a line per step, whose ids are `key=value` before what it says."""
    started = time.monotonic()

    class Elapsed(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.elapsed = time.monotonic() - started
            record.stage = doing.get() or name
            record.level = record.levelname.lower()
            return True

    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(Elapsed())
    context = {key: os.environ.get(f"SLIPWAY_{key.upper()}") for key in IDS}
    labels = {"stage": "%(stage)s", "project": project, "as_of": as_of} | context
    labels |= {"level": "%(level)s", "t": "%(elapsed).1fs"}
    prefix = " ".join(f"{key}={value}" for key, value in labels.items() if value)
    handler.setFormatter(_OneLine(f"{prefix} %(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def _stop(*_: object) -> None:
    # An exception, so that an MLflow run under way is closed on the way out.
    raise SystemExit(143)


def main() -> None:
    """Run the command line."""
    cap_threads()
    app(prog_name="python -m ml")
