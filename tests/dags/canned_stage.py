"""Stands in for `python -m ml` where a test is about the DAG: quick, and fails when told to.

Writes the name of each stage that runs to the file $CALLS. The stage $FAULT fails with the exit
code $FAULT_CODE; `register` decides $DECISION, `monitor` and `report` decide $MONITORED and ask for
a training when that is `retrain`, unless $COOLING is set.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(verb: str) -> int:
    with Path(os.environ["CALLS"]).open("a") as calls:
        calls.write(f"{' '.join([verb, *sys.argv[2:]])}\n")
    print(f"stage={verb} dag_id={os.environ['SLIPWAY_DAG_ID']}")
    record = f"file:///data/{verb}/record.json"
    result: dict[str, Any] = {"stage": verb, "status": "done", "record": record}
    if verb == "register":
        result |= {"decision": os.environ["DECISION"], "reason": "auc 0.51 is under 0.55"}
        result |= {"version": "3", "run_id": "ab12", "holdout_rows": 6543}
        result |= {"candidate_score": 0.7312, "champion_score": 0.7205, "champion_version": "2"}
    if verb == "score":
        result |= {"version": "3", "days": 1, "rows": 900, "mean_score": 0.25}
        result |= {"refused": 2, "reasons": {"carrier is missing": 2}}
    if verb in ("monitor", "report"):
        result |= monitored()
    if verb == os.environ.get("FAULT"):
        result = {"stage": verb, "status": "failed", "error": f"{verb} was told to fail"}
    Path(os.environ["SLIPWAY_RESULT_PATH"]).write_text(json.dumps(result))
    return int(os.environ["FAULT_CODE"]) if verb == os.environ.get("FAULT") else 0


def monitored() -> dict[str, Any]:
    """Return what both stages of the monitoring say of a model."""
    decision, note = os.environ.get("MONITORED", "healthy"), os.environ.get("COOLING", "")
    found = {"decision": decision, "reason": f"AUC 0.700 is {decision}", "training_note": note}
    return found | {"start_training": decision == "retrain" and not note, "version": "3"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
