"""pin_champion: say once which version is production, so that all who ask later agree."""

from ml.errors import BadInputError
from ml.fingerprint import code_digest, fingerprint
from ml.job import Job
from ml.ledger import Outcome, once
from ml.project import read_project
from ml.record import Result, Stage
from ml.tracking import champion

TELL = ("version", "sha256")


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
    }
    key = fingerprint(stage=Stage.PIN_CHAMPION, code=code_digest("ml.pin_champion"), **facts)
    return once(job, Stage.PIN_CHAMPION, key, lambda _: Outcome(facts=facts), TELL)
