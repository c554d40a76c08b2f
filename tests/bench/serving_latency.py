"""How fast one serving process answers over loopback, and how much memory it takes.

    python -m tests.bench.serving_latency [--json]

The server is the one of the image: one process, one thread for the model, a gradient-boosted model
of three columns in ONNX. Client and server share the machine's cores, so the numbers are a floor.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.code.serving_process import Running, serving
from tests.code.small_model import Published, publish

PREDICT = "/v1/projects/parcels/predict"
WARM_UP = 300
REQUESTS = 3000
CLIENTS = 8


@dataclass(frozen=True)
class Latency:
    """Of one kind of request: quantiles in milliseconds, and requests per second."""

    what: str
    p50: float
    p99: float
    per_second: float


@dataclass(frozen=True)
class Measured:
    """Everything about one process."""

    start_seconds: float
    resident_mib: float
    latencies: list[Latency]


@contextmanager
def connection(running: Running) -> Iterator[http.client.HTTPConnection]:
    """Open one kept connection without Nagle's delay."""
    opened = http.client.HTTPConnection(running.url.removeprefix("http://"))
    opened.connect()
    opened.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield opened
    finally:
        opened.close()


def call(running: Running, body: bytes, count: int) -> list[float]:
    """Send a request `count` times, one after another; return the seconds each took."""
    took = []
    with connection(running) as opened:
        for _ in range(count):
            began = time.perf_counter()
            opened.request("POST", PREDICT, body, {"content-type": "application/json"})
            reply = opened.getresponse()
            reply.read()
            took.append(time.perf_counter() - began)
            if reply.status != 200:
                raise SystemExit(f"error: the server answered {reply.status}")
    return took


def measure_one(running: Running, what: str, body: bytes, count: int) -> Latency:
    """Measure one client."""
    took = call(running, body, count)
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
    return Latency(what, round(p50, 3), round(p99, 3), round(count / sum(took)))


def measure_many(running: Running, body: bytes, clients: int, count: int) -> Latency:
    """Measure several clients at once."""
    took: list[float] = []
    threads = [
        threading.Thread(target=lambda: took.extend(call(running, body, count // clients)))
        for _ in range(clients)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(took) / (time.perf_counter() - began)
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
    return Latency(f"1 row, {clients} clients", round(p50, 3), round(p99, 3), round(rate))


def resident_mib(process: int) -> float:
    """Return the resident memory of a process (Linux)."""
    status = Path(f"/proc/{process}/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kib) / 1024


def body_of(published: Published, rows: int) -> bytes:
    """Return a request with that many rows."""
    sample = published.manifest.sample
    return json.dumps({"rows": [sample[i % len(sample)] for i in range(rows)]}).encode()


def measure() -> Measured:
    """Publish a model, serve it and measure."""
    with tempfile.TemporaryDirectory() as folder:
        published = publish(Path(folder))
        began = time.perf_counter()
        with serving(published.environment()) as running:
            start = time.perf_counter() - began
            one, thousand = body_of(published, 1), body_of(published, 1000)
            call(running, one, WARM_UP)
            latencies = [
                measure_one(running, "1 row, 1 client", one, REQUESTS),
                measure_many(running, one, CLIENTS, REQUESTS),
                measure_one(running, "1000 rows, 1 client", thousand, 50),
            ]
            return Measured(round(start, 2), round(resident_mib(running.process.pid), 1), latencies)


def main() -> None:
    """Print the table, or JSON."""
    measured = measure()
    if "--json" in sys.argv:
        print(json.dumps(asdict(measured)))
        return
    for line in measured.latencies:
        print(
            f"{line.what:<22} p50 {line.p50:7.3f} ms  p99 {line.p99:7.3f} ms  {line.per_second}/s"
        )
    print(f"ready after {measured.start_seconds} s, resident {measured.resident_mib} MiB")


if __name__ == "__main__":
    main()
