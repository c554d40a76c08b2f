"""What a stage's last words become: a result, or a failure that is or is not tried again."""

from __future__ import annotations

import json

import pytest
from adapter.pods.results import LIMIT, NoResultError, StageEnd, result_of

RECORD = "s3://data/flights/train/dt=2013-03-01/0123456789abcdef/record.json"


def failure(ending: StageEnd) -> NoResultError:
    with pytest.raises(NoResultError) as caught:
        result_of("train", ending)
    return caught.value


def test_result_is_the_json_that_the_stage_left() -> None:
    message = json.dumps({"stage": "train", "status": "done", "record": RECORD, "auc": 0.7})
    assert result_of("train", StageEnd(0, message)) == json.loads(message)


@pytest.mark.parametrize("message", ["", "trained", "[1]", '{"stage": "train"}', '{"record": 1}'])
def test_success_without_a_result_is_a_failure_worth_another_try(message: str) -> None:
    failed = failure(StageEnd(0, message))
    assert str(failed) == "train ended well but left no result"
    assert failed.retry


def test_result_over_the_limit_is_refused() -> None:
    failed = failure(StageEnd(0, json.dumps({"record": RECORD, "facts": "x" * LIMIT})))
    assert "more than 1024 bytes" in str(failed)
    assert not failed.retry


def test_largest_result_allowed_passes() -> None:
    frame = len(json.dumps({"record": RECORD, "facts": ""}))
    message = json.dumps({"record": RECORD, "facts": "x" * (LIMIT - frame)})
    assert len(message) == LIMIT
    assert result_of("train", StageEnd(0, message))["record"] == RECORD


@pytest.mark.parametrize(("exit_code", "retry"), [(1, True), (137, True), (3, False), (4, False)])
def test_exit_code_decides_whether_to_try_again(exit_code: int, retry: bool) -> None:
    message = json.dumps({"status": "failed", "error": "the day 2013-03-04 has no rows"})
    failed = failure(StageEnd(exit_code, message))
    assert str(failed) == "train failed: the day 2013-03-04 has no rows"
    assert failed.retry is retry


def test_stage_can_say_that_another_try_is_in_vain() -> None:
    assert not failure(StageEnd(1, '{"error": "no", "retry": false}')).retry


def test_words_of_a_stage_that_died_come_from_its_log() -> None:
    log = "reading 60 days\nerror: the table weather lacks the column dewp\nbye\n"
    assert str(failure(StageEnd(1, log))) == "train failed: the table weather lacks the column dewp"
    assert (
        str(failure(StageEnd(1, "one\nSegmentation fault\n"))) == "train failed: Segmentation fault"
    )


def test_kubernetes_reasons_become_sentences() -> None:
    assert "more memory than its limit" in str(failure(StageEnd(137, "", "OOMKilled")))
    assert "longer than its execution timeout" in str(failure(StageEnd(-1, "", "DeadlineExceeded")))
    evicted = failure(StageEnd(-1, "The node was low on resource: memory.", "Evicted"))
    assert str(evicted) == "train failed: The node was low on resource: memory."
    assert evicted.retry


def test_silent_death_says_how_it_ended() -> None:
    assert "exit code 139" in str(failure(StageEnd(139)))
    assert "Evicted" in str(failure(StageEnd(-1, "", "Evicted")))
