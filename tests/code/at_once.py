"""The same script in two processes that begin at the same moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping


def at_once(script: str, environment: Mapping[str, str]) -> list[str]:
    """Run a script that waits for a line of its input, twice; return what each printed."""
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in started:
        assert one.stdin
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=240) for one in started]
    assert [one.returncode for one in started] == [0, 0], said
    return [out for out, _ in said]
