"""`make ui`: forward the release's web pages here and say where they are and how to log in."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from k8s.access import NAMESPACE, AccessError, kubectl_json, port_forward


@dataclass(frozen=True)
class Page:
    """A page to open: its Service, the ports on both ends, and the Secret with its login."""

    title: str
    service: str
    port: int
    local_port: int
    secret: str | None
    user_key: str = "username"
    password_key: str = "password"  # noqa: S105 - the name of a key, not a password


PAGES = [
    Page("Airflow", "slipway-airflow", 8080, 8080, "slipway-airflow-admin"),
    Page("MLflow", "slipway-mlflow", 5000, 5000, "slipway-mlflow-admin"),
    Page(
        "MinIO console",
        "slipway-minio",
        9001,
        9001,
        "slipway-object-store-root",
        "access-key",
        "secret-key",
    ),
]


def model_pages() -> list[Page]:
    """Return one page per deployed model: the interactive documentation of its API."""
    services = kubectl_json("get", "services", "-l", "app.kubernetes.io/component=serving")
    names = sorted(item["metadata"]["name"] for item in services["items"])
    return [
        Page(f"Model {name} (/docs)", name, 8080, 8090 + index, None)
        for index, name in enumerate(names)
    ]


def read_key(secret: str, key: str) -> str:
    """Return the command that prints one key of a Secret."""
    return (
        f"kubectl -n {NAMESPACE} get secret {secret} "
        f"-o go-template='{{{{index .data \"{key}\" | base64decode}}}}'"
    )


def describe(page: Page, url: str) -> str:
    """Return what to print for a page that is being forwarded at `url`."""
    lines = [f"{page.title:<22} {url}"]
    if page.secret:
        lines.append(f"  user       {read_key(page.secret, page.user_key)}")
        lines.append(f"  password   {read_key(page.secret, page.password_key)}")
    return "\n".join(lines)


def main() -> int:
    """Forward every page until interrupted; returns the exit status."""
    # Also SIGINT: a shell lets what it starts in the background ignore it.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.default_int_handler)
    try:
        with ExitStack() as forwards:
            for page in [*PAGES, *model_pages()]:
                url = forwards.enter_context(port_forward(page.service, page.port, page.local_port))
                print(describe(page, url), flush=True)
            print("\nForwarding until you press Ctrl-C.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except AccessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
