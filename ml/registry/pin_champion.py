"""pin_champion: say once which version is production, so that all who ask later agree."""

from ml.core.errors import BadInputError
from ml.core.fingerprint import code_digest, fingerprint
from ml.core.job import Job
from ml.core.ledger import Outcome, once
from ml.core.project import read_project
from ml.core.record import Result
from ml.registry.tracking import champion
from ml.stages import Stage


def run(job: Job) -> Result:
    """Write down the champion's version and bytes; BadInputError when there is none yet."""
    read_project(job.project, job.settings.projects_path)
    current = champion(job)
    if current is None:
        raise BadInputError(
            f"no version of '{job.project}' is champion yet, so there is nothing to score with: "
            "run ml_training_pipeline first (on a laptop: python -m ml run)"
        )
    facts = {
        "version": current.version,
        "sha256": current.sha256,
        "artifact": current.artifact,
        "recipe": current.recipe,
    }
    key = fingerprint(stage=Stage.PIN_CHAMPION, code=code_digest(__name__), **facts)
    return once(job, Stage.PIN_CHAMPION, key, lambda _: Outcome(facts=facts))
