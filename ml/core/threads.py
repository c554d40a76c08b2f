"""How many threads numeric libraries may start, from what the container is allowed.

Left alone they count the machine's cores; in a pod limited to one CPU, or on a busy machine, their
threads then spin waiting for each other and training takes ten times as long.
"""

import math
import os
from pathlib import Path

QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def cap_threads() -> None:
    """Set the libraries' variables, where the user has not; call before importing them."""
    allowed = str(threads(_quota(), len(os.sched_getaffinity(0))))
    for variable in VARIABLES:
        os.environ.setdefault(variable, allowed)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def threads(quota: float | None, cores: int) -> int:
    """Choose a number: a pod's whole quota, or half of an unlimited machine; at least one."""
    return max(1, cores // 2 if quota is None else min(cores, math.floor(quota)))


def _quota() -> float | None:
    try:
        if QUOTA_V2.is_file():
            limit, period = QUOTA_V2.read_text().split()
        else:
            limit, period = QUOTA_V1.read_text().strip(), PERIOD_V1.read_text().strip()
    except OSError:
        return None
    return None if limit in ("max", "-1") else int(limit) / int(period)
