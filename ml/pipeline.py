"""run and chain: several stages in one process, as the DAG would do them in pods."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ml.core.job import Job, log
from ml.core.ledger import run_stage
from ml.core.record import Result
from ml.stages import Stage

TRAINING = tuple(Stage)[: tuple(Stage).index(Stage.ROLL_OUT) + 1]
"""The stages of a training pipeline, in order."""

GATES = (Stage.REGISTER, Stage.ROLL_OUT)
"""The stages that may refuse: by the decision, or as it came to nothing since."""


def run_pipeline(job: Job, tell: Callable[[Result], None]) -> list[Result]:
    """Do the stages in order, handing each the record before; stop where the gate says no."""
    results: list[Result] = []
    for stage in TRAINING:
        before = results[-1].record if results else None
        results.append(run_stage(stage, replace(job, upstream=before)))
        tell(results[-1])
        if stage in GATES and results[-1].facts.get("decision", "deploy") != "deploy":
            log.info("not deployed: %s", results[-1].facts["reason"])
            break
    return results


def run_chain(stages: Sequence[Stage], job: Job) -> Iterator[Result]:
    """Do stages in the order given, handing each the record before; yield each when it is done."""
    for stage in stages:
        result = run_stage(stage, job)
        yield result
        job = replace(job, upstream=result.record)
