"""Stands in for `python -m ml` where a test is about the DAG: quick, and fails when told to.

Writes the name of each stage that runs to the file $CALLS, and of each process to $CALLS.started.
The stage $FAULT fails with the exit code $FAULT_CODE; `register` decides $DECISION, `monitor` and
`report` decide $MONITORED and ask for a training when that is `retrain`, unless $COOLING is set.
`roll_out` writes to the file $SERVED, where one is named, that users have the new version, and
refuses when there is a $ROLL_OUT_REFUSES, which is its reason.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(verb: str, arguments: list[str], env: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the result of one stage, or of a chain of them."""
    if verb != "chain":
        return stage(verb, arguments, env)
    first_option = next(n for n, argument in enumerate(arguments) if argument.startswith("--"))
    code, results = 0, []
    for name in arguments[:first_option]:
        code, result = stage(name, arguments[first_option:], env)
        results.append(result)
        if code:
            break
    return code, {"results": results}


def stage(verb: str, arguments: list[str], env: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the result of one stage."""
    with Path(env["CALLS"]).open("a") as calls:
        calls.write(f"{' '.join([verb, *arguments])}\n")
    if verb == env.get("FAULT"):
        error = {"stage": verb, "status": "failed", "error": f"{verb} was told to fail"}
        return int(env["FAULT_CODE"]), error
    if verb == "roll_out" and (reason := env.get("ROLL_OUT_REFUSES")):
        refused = {"stage": verb, "status": "refused", "record": "file:///data/x/record.json"}
        return 0, refused | {"version": "3", "decision": "refuse", "reason": reason}
    if verb == "roll_out" and "SERVED" in env:
        Path(env["SERVED"]).write_text("new")
    result = {"stage": verb, "status": "done", "record": f"file:///data/{verb}/record.json"}
    return 0, result | SAID.get(verb, {}) | decided(verb, env)


# What some tasks look for in a result, besides the record.
SAID: dict[str, dict[str, Any]] = {
    "register": {
        "version": "3",
        "run_id": "ab12",
        "holdout_rows": 6543,
        "candidate_score": 0.7312,
        "champion_score": 0.7205,
        "champion_version": "2",
    },
    "score": {
        "version": "3",
        "days": 1,
        "rows": 900,
        "mean_score": 0.25,
        "refused": 2,
        "reasons": {"carrier is missing": 2},
    },
    "roll_out": {"version": "3", "endpoint": "file:///serving/live"},
    "smoke": {"version": "3", "p50_ms": 1.5},
}


def decided(verb: str, env: dict[str, str]) -> dict[str, Any]:
    """Return the decision that the test has chosen, in the results of the stages that decide."""
    if verb == "register":
        return {"decision": env["DECISION"], "reason": "auc 0.51 is under 0.55"}
    if verb in ("monitor", "report"):
        return monitored(env)
    return {}


def monitored(env: dict[str, str]) -> dict[str, Any]:
    """Return what both stages of the monitoring say of a model."""
    decision, note = env.get("MONITORED", "healthy"), env.get("COOLING", "")
    found = {"decision": decision, "reason": f"AUC 0.700 is {decision}", "training_note": note}
    return found | {"start_training": decision == "retrain" and not note, "version": "3"}


if __name__ == "__main__":
    print(f"stage={sys.argv[1]} dag_id={os.environ['SLIPWAY_DAG_ID']}")
    with Path(f"{os.environ['CALLS']}.started").open("a") as started:
        started.write(f"{sys.argv[1]}\n")
    code, result = main(sys.argv[1], sys.argv[2:], dict(os.environ))
    Path(os.environ["SLIPWAY_RESULT_PATH"]).write_text(json.dumps(result))
    sys.exit(code)
