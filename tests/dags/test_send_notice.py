"""Notices reach real receivers in their own formats, and those that are away only cost a line."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from notifications.notices import Event
from notifications.send_notice import Address, addresses

from tests.dags.conftest import DAGS, REPO
from tests.dags.receivers import Mailbox, Post, Receiver

SENDER = DAGS / "plugins/notifications/send_notice.py"
AIRFLOW = "https://airflow.example.org/dags/ml_training_pipeline/runs/manual__1/tasks/a_b.c_d"
NOTICE = {
    "event": "failure",
    "events": list(Event),
    "type": "failure",
    "title": "failure: flights 2013-03-01 (ml_training_pipeline)",
    "body": "The run failed.\n\nModel: `flights version 3`\n\n"
    "Why: `a_b.c_d: the *table* <weather> lacks dew_point_x`\n\n"
    f"[Airflow run]({AIRFLOW})",
}
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"
TEAMS = (
    "workflows://prod-161.westeurope.logic.azure.com:443/"
    "643e69f83c8944438d68119179a10a64/KODuebWbDGYFr0z0eu-6Rj8aUKz7108W3wrNJZxFE5A"
)
PAGERDUTY = "pagerduty://A1BRTD4JDTIiajkdnlazkcOXrIdevi7@T1JJ3T3L2apikey/slipway/training"


class Sending:
    """One call of the sender."""

    def __init__(
        self, folder: Path, *lines: str, limit: float = 10, env: dict[str, str] | None = None
    ) -> None:
        file = folder / "addresses"
        file.write_text("\n".join(lines))
        started = time.monotonic()
        self.done = subprocess.run(
            [sys.executable, "-I", str(SENDER), str(file), str(limit)],
            input=json.dumps(NOTICE),
            capture_output=True,
            text=True,
            check=False,
            env=env or {},
            timeout=60,
        )
        self.seconds = time.monotonic() - started

    @property
    def deliveries(self) -> list[dict[str, Any]]:
        """Return what the sender says of each address, in the file's order."""
        assert self.done.returncode == 0, self.done.stderr
        told = [json.loads(line) for line in self.done.stdout.splitlines()]
        return sorted(told, key=lambda one: int(one["number"]))


def only(posts: list[Post]) -> Post:
    (post,) = posts
    return post


def test_json_webhook_gets_title_text_and_type(receiver: Receiver, tmp_path: Path) -> None:
    sent = Sending(tmp_path, receiver.address)
    assert sent.deliveries == [{"number": 1, "service": "JSON", "ok": True, "why": ""}]
    post = only(receiver.posts)
    assert post.path == "/hook"
    assert post.body["title"] == NOTICE["title"]
    assert post.body["message"] == NOTICE["body"]
    assert post.body["type"] == "failure"


def test_slack_gets_its_own_markup(receiver: Receiver, tmp_path: Path) -> None:
    sent = Sending(tmp_path, SLACK, env=receiver.environment)
    assert sent.deliveries == [{"number": 1, "service": "Slack", "ok": True, "why": ""}]
    post = only(receiver.posts)
    assert post.host == "hooks.slack.com"
    assert post.path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"
    (attachment,) = post.body["attachments"]
    assert attachment["title"] == NOTICE["title"]
    assert f"<{AIRFLOW}|Airflow run>" in attachment["text"]
    assert "`a_b.c_d: the *table* &lt;weather&gt; lacks dew_point_x`" in attachment["text"]


def test_teams_gets_a_card(receiver: Receiver, tmp_path: Path) -> None:
    sent = Sending(tmp_path, TEAMS, env=receiver.environment)
    assert sent.deliveries == [
        {"number": 1, "service": "Power Automate / Workflows (for MSTeams)", "ok": True, "why": ""}
    ]
    post = only(receiver.posts)
    assert post.host == "prod-161.westeurope.logic.azure.com"
    assert post.path.startswith("/workflows/643e69f83c8944438d68119179a10a64/triggers/manual/")
    card = post.body["attachments"][0]["content"]
    assert card["type"] == "AdaptiveCard"
    texts = [block["text"] for block in card["body"] if block["type"] == "TextBlock"]
    assert NOTICE["title"] in texts
    assert any(f"[Airflow run]({AIRFLOW})" in text for text in texts)


def test_pagerduty_gets_a_critical_event(receiver: Receiver, tmp_path: Path) -> None:
    sent = Sending(tmp_path, PAGERDUTY, env=receiver.environment)
    assert sent.deliveries[0]["ok"], sent.deliveries
    post = only(receiver.posts)
    assert (post.host, post.path) == ("events.pagerduty.com", "/v2/enqueue")
    assert post.body["event_action"] == "trigger"
    assert post.body["payload"]["severity"] == "critical"
    assert "flights 2013-03-01" in post.body["payload"]["summary"]


def test_mail_arrives_with_links(mailbox: Mailbox, tmp_path: Path) -> None:
    address = f"mailto://127.0.0.1:{mailbox.port}?from=slipway@example.org&to=team@example.org"
    sent = Sending(tmp_path, address)
    assert sent.deliveries == [{"number": 1, "service": "E-Mail", "ok": True, "why": ""}]
    (mail,) = mailbox.mails
    assert mail["Subject"] == NOTICE["title"]
    assert "team@example.org" in mail["To"]
    body = mail.get_body(("html",))
    assert body is not None
    assert f'<a href="{AIRFLOW}">Airflow run</a>' in body.get_content()


def test_each_address_gets_the_events_it_asks_for(receiver: Receiver, tmp_path: Path) -> None:
    sent = Sending(
        tmp_path,
        "# people",
        f"success={receiver.address}/1",
        f"failure, rolled_back={receiver.address}/2",
        "",
        f"  {receiver.address}/3?:team=ml  ",
    )
    assert [(one["number"], one["ok"]) for one in sent.deliveries] == [(3, True), (5, True)]
    assert {post.path for post in receiver.posts} == {"/hook/2", "/hook/3"}


def test_dead_receiver_costs_a_line_and_nobody_else_waits(
    receiver: Receiver, tmp_path: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, or ever will
        dead = f"json://127.0.0.1:{unused.getsockname()[1]}/dead"
        sent = Sending(tmp_path, dead, receiver.address)
    first, second = sent.deliveries
    assert not first["ok"]
    assert "Connection error" in first["why"]
    assert second["ok"]
    assert len(receiver.posts) == 1


def test_slow_receiver_is_not_waited_for(receiver: Receiver, tmp_path: Path) -> None:
    receiver.delay_s = 30
    slow = f"{receiver.address}?rto=60"
    sent = Sending(tmp_path, slow, limit=2)
    assert sent.deliveries == [
        {"number": 1, "service": "JSON", "ok": False, "why": "it took too long"}
    ]
    assert sent.seconds < 15


@pytest.mark.parametrize("status", [401, 500])
def test_receiver_that_refuses_is_told(receiver: Receiver, tmp_path: Path, status: int) -> None:
    receiver.status = status
    (delivery,) = Sending(tmp_path, SLACK, env=receiver.environment).deliveries
    assert not delivery["ok"]
    assert f"error={status}" in delivery["why"]


def test_address_that_is_none_is_told(tmp_path: Path) -> None:
    sent = Sending(
        tmp_path, "hunter2hunter2", "nonsense://hunter2hunter2", "slack://hunter2hunter2"
    )
    assert [one["service"] for one in sent.deliveries] == ["none", "nonsense", "slack"]
    assert all(
        one["why"] == "this is no address that Apprise understands" for one in sent.deliveries
    )
    assert "hunter2" not in sent.done.stdout + sent.done.stderr


THERE_ARE = "there are success, failure, refused, rolled_back, drift, late"


def test_misspelt_event_is_told_with_every_notice(receiver: Receiver, tmp_path: Path) -> None:
    sent = Sending(
        tmp_path,
        "faliure,rolledback=slack://hunter2hunter2",
        "rolled-back = pagerduty://hunter2hunter2",
        "Failure=hunter2://hunter2hunter2",
        receiver.address,
    )
    assert [(one["number"], one["service"], one["why"]) for one in sent.deliveries] == [
        (1, "slack", f"it names the event `faliure` and the event `rolledback`, and {THERE_ARE}"),
        (2, "pagerduty", f"it names the event `rolled-back`, and {THERE_ARE}"),
        (3, "hunter2", f"it names the event `Failure`, and {THERE_ARE}"),
        (4, "JSON", ""),
    ]
    assert [one["ok"] for one in sent.deliveries] == [False, False, False, True]
    assert "hunter2hunter2" not in sent.done.stdout + sent.done.stderr


def test_event_beside_a_misspelt_one_is_still_sent(receiver: Receiver, tmp_path: Path) -> None:
    sent = Sending(
        tmp_path,
        f"failure,rolledback={receiver.address}/1",
        f"success,rolledback={receiver.address}/2",
    )
    assert [(one["number"], one["ok"]) for one in sent.deliveries] == [
        (1, False),
        (1, True),
        (2, False),
    ]
    assert only(receiver.posts).path == "/hook/1"


def test_misspelt_event_that_is_in_the_address_is_not_written(tmp_path: Path) -> None:
    (delivery,) = Sending(tmp_path, "hunter=json://kim:hunter@127.0.0.1:9").deliveries
    assert delivery["why"] == f"it names the event `***`, and {THERE_ARE}"


@pytest.mark.parametrize("between", [" ", ", ", ",", ";", "  failure, drift = "])
def test_two_addresses_on_a_line_cost_only_that_line(
    receiver: Receiver, tmp_path: Path, between: str
) -> None:
    hidden = "json://kim:hunter2@127.0.0.1:9/0a1b2c3d"
    sent = Sending(
        tmp_path,
        f"{receiver.address}/1",
        f"failure={hidden}{between}{hidden}",
        f"{receiver.address}/3?:team=ml,ops&:to=https://example.org",
    )
    assert [(one["number"], one["ok"], one["why"]) for one in sent.deliveries] == [
        (1, True, ""),
        (2, False, "it has two addresses: one to a line"),
        (3, True, ""),
    ]
    assert {post.path for post in receiver.posts} == {"/hook/1", "/hook/3"}
    assert "hunter2" not in sent.done.stdout + sent.done.stderr
    assert "0a1b2c3d" not in sent.done.stdout + sent.done.stderr


def test_line_that_only_ends_as_an_address_is_none_and_stays_hidden(tmp_path: Path) -> None:
    (delivery,) = Sending(tmp_path, "kim:hunter2@example.org?to=json://127.0.0.1:9").deliveries
    assert (delivery["ok"], delivery["service"]) == (False, "none")
    assert delivery["why"] == "this is no address that Apprise understands"


SECRETS = [
    SLACK,
    TEAMS,
    PAGERDUTY,
    "json://kim:hunter2@127.0.0.1:{port}/v1/0a1b2c3d?+X-Token=s3cr%2Fet-s3cret",
    "form://127.0.0.1:{port}/v1/0a1b2c3d4e5f",
    "mailto://kim:hunter2hunter2@127.0.0.1:{port}?to=kim@example.org",
    "slack://hunter2hunter2",
    "opsgenie://a1b2c3d4e5f6g7h8",
]


@pytest.mark.parametrize("address", SECRETS, ids=lambda address: address.partition(":")[0])
def test_no_part_of_an_address_is_ever_written(address: str, tmp_path: Path) -> None:
    """Nothing listens, so whatever the libraries say of it is in the way of being written."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{port}"}
        sent = Sending(tmp_path, address.format(port=port), env=proxy)
    (delivery,) = sent.deliveries
    assert not delivery["ok"]
    assert delivery["why"]
    written = sent.done.stdout + sent.done.stderr
    for part in re.split(r"[/:@?&=+]", address.partition("://")[2]):
        assert len(part) < 5 or part.startswith("{") or part not in written


def test_text_is_cleared_of_every_part_of_an_address() -> None:
    address = Address(1, "jsons://kim:hunter2@host.example/a/s3cr%2Fet?+Token=abcdef")
    text = "no route to https://kim:hunter2@host.example/a/s3cr%2Fet with s3cr/et and abcdef"
    assert address.hide(text) == "no route to https://kim:***@***/a/*** with *** and ***"


def test_lines_are_read_as_people_write_them() -> None:
    text = "# team\n\nfailure,drift = slack://a/b/c\nmailto://x:y@z?to=a=b\n oddity \n"
    first, second, third = addresses(text)
    assert (first.number, first.url, sorted(first.events)) == (
        3,
        "slack://a/b/c",
        ["drift", "failure"],
    )
    assert (second.url, second.events) == ("mailto://x:y@z?to=a=b", frozenset())
    assert third.url == "oddity"
    assert first.wants("drift")
    assert not first.wants("success")
    assert second.wants("success")


def documented() -> list[str]:
    """Return the addresses in the table of docs/notifications.md."""
    page = (REPO / "docs" / "notifications.md").read_text()
    return re.findall(r"^\|[^|]+\| `([a-z]+://[^`]+)`", page, re.MULTILINE)


@pytest.mark.filterwarnings("default")  # Apprise's own imports warn
def test_documented_addresses_are_understood() -> None:
    from apprise import Apprise

    assert len(documented()) == 7
    for address in documented():
        assert Apprise.instantiate(address), address


def test_sender_needs_nothing_of_ours() -> None:
    """It starts in isolation, so that no folder on the path can slip a module under it."""
    source = SENDER.read_text()
    imports = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
    assert imports - set(sys.stdlib_module_names) == {"apprise"}
    assert "AIRFLOW_HOME" in os.environ  # as in an Airflow process
