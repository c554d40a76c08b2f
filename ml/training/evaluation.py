"""What evaluate publishes: the measurements that the gate decided by."""

import json
from typing import Any

from ml.core.job import Job
from ml.core.ledger import read_outputs
from ml.core.record import Record
from ml.stages import Stage

EVALUATION = "evaluation"


def measured(job: Job, evaluated: Record) -> dict[str, Any]:
    """Read what evaluate measured; BadInputError when the file is not what it was."""
    (content,) = read_outputs(job, Stage.EVALUATE, [evaluated.outputs[EVALUATION]])
    found: dict[str, Any] = json.loads(content)["measured"]
    return found
