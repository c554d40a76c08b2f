"""What a person is asked before a deployment: the comparison, on one screen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from slipway_mlflow.links import run_page, version_page


@dataclass(frozen=True)
class ApprovalQuestion:
    """Whether to deploy the candidate that the register stage tells of in `result`."""

    project: str
    result: dict[str, Any]
    answer_within: str

    @property
    def subject(self) -> str:
        """Return the question itself."""
        return f"Deploy version {self.result['version']} of {self.project}?"

    def body(self, mlflow_ui_url: str) -> str:
        """Return the comparison as Markdown, with links to MLflow's own pages."""
        result = self.result
        lines = [
            "| | version | AUC |",
            "|---|---|---|",
            f"| candidate | {result['version']} | {_score(result.get('candidate_score'))} |",
            self._champion(),
            "",
            *self._rows(),
            f"**The gate says deploy:** {result['reason']}",
            "",
            " · ".join(self._links(mlflow_ui_url)),
            "",
            f"No answer within {self.answer_within} is a no: the champion stays.",
        ]
        return "\n".join(lines)

    def _champion(self) -> str:
        version = self.result.get("champion_version")
        if version is None:
            return "| champion | none yet | |"
        return f"| champion | {version} | {_score(self.result.get('champion_score'))} |"

    def _rows(self) -> list[str]:
        rows = self.result.get("holdout_rows")
        return [f"Measured on {rows:,} rows that neither has seen.", ""] if rows else []

    def _links(self, mlflow_ui_url: str) -> list[str]:
        version = version_page(mlflow_ui_url, self.project, str(self.result["version"]))
        links = [f"[The version in MLflow]({version})"]
        run_id = self.result.get("run_id")
        return [*links, f"[its run]({run_page(mlflow_ui_url, run_id)})"] if run_id else links


def hours(limit: timedelta | None) -> str:
    """Write a time limit as people say it."""
    seconds = int((limit or timedelta()).total_seconds())
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return str(limit)


def cut(text: str, limit: int) -> str:
    """Return the text on one line, cut where it would take over `limit` bytes in an XCom."""
    line = " ".join(text.split())
    if len(json.dumps(line)) <= limit:
        return line
    while len(json.dumps(f"{line}…")) > limit:
        line = line[:-1]
    return f"{line}…"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
