"""The state machine of a roll-out, every step failing in turn."""

from __future__ import annotations

import pytest

from ml.core.errors import StageError
from ml.core.record import Status
from ml.registry.aliases import Alias
from ml.rollout.target import BusyError, Deployed, Side
from tests.code.memory_target import Flaw
from tests.code.world import World


@pytest.fixture
def new() -> World:
    return World()


@pytest.fixture
def world(new: World) -> World:
    assert new.roll_out("1") is Status.DONE
    new.target.selections.clear()
    new.target.deploys.clear()
    return new


def test_the_first_version_is_served_and_becomes_champion(new: World) -> None:
    assert new.roll_out("1") is Status.DONE
    assert new.target.users_get() == "1"
    assert new.aliases.names == {Alias.CHAMPION: "1"}
    assert new.aliases.remarks["1"]["slipway.rollout"] == "done"


def test_the_next_version_takes_over_and_the_old_one_stays_up(world: World) -> None:
    assert world.roll_out("2") is Status.DONE
    assert world.target.users_get() == "2"
    assert world.target.live is Side.GREEN
    assert world.target.sides[Side.BLUE] == Deployed(
        "1", "s3://models/1", "1" * 64, wanted=2, ready=2
    )
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}


def test_sides_take_turns(world: World) -> None:
    for version in ("2", "3", "4"):
        world.roll_out(version)
    assert world.target.deploys == [("2", Side.GREEN), ("3", Side.BLUE), ("4", Side.GREEN)]
    assert world.aliases.names == {Alias.CHAMPION: "4", Alias.PREVIOUS: "3"}


def test_the_champion_again_changes_nothing(world: World) -> None:
    world.roll_out("2")
    world.target.selections.clear()
    world.target.deploys.clear()
    assert world.roll_out("2") is Status.SKIPPED
    assert (world.target.selections, world.target.deploys) == ([], [])
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}


def test_what_was_compared_with_a_champion_of_before_is_not_rolled_out(world: World) -> None:
    world.roll_out("2", compared_with="1")
    ended = world.attempt("3", compared_with="1")
    assert ended.status is Status.REFUSED
    assert "version 2 has become champion since it was compared: run its day again" in ended.reason
    assert world.target.users_get() == "2"
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}
    assert world.aliases.remarks["3"]["slipway.rollout"] == "refused"
    assert ended.reason in world.aliases.remarks["3"]["slipway.rollout_reason"]


def test_what_was_compared_with_nothing_is_not_rolled_out_over_a_champion(world: World) -> None:
    assert "version 1 has become champion" in world.attempt("2", compared_with="").reason
    assert world.target.users_get() == "1"


def test_a_refusal_does_not_hide_that_a_version_served_well(world: World) -> None:
    world.roll_out("2")
    world.attempt("1", compared_with="")
    assert world.aliases.remarks["1"]["slipway.rollout"] == "done"
    assert world.aliases.names[Alias.PREVIOUS] == "1"


def test_the_champion_itself_is_rolled_out_again_whatever_it_was_compared_with(
    world: World,
) -> None:
    world.roll_out("2", compared_with="1")
    assert world.roll_out("2", compared_with="1") is Status.SKIPPED


def test_a_champion_that_is_gone_is_served_again(world: World) -> None:
    world.target.sides[Side.BLUE] = Deployed()
    world.target.live = None
    assert world.roll_out("1") is Status.DONE
    assert world.target.users_get() == "1"
    assert world.aliases.names == {Alias.CHAMPION: "1"}


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        (Flaw(dies={"2"}), "pod x ended: no such model"),
        (Flaw(sleeps={"2"}), "after 30 s 0 of 2 instances are ready"),
        (Flaw(lies={"2"}), "scores known row 0 as 2.26 instead of 2.25"),
        (Flaw(not_a_number={"2"}), "scores known row 0 as nan"),
        (Flaw(silent={"2"}), "pod x did not answer"),
        (Flaw(users_way_stuck=True), "users do not reach the new version"),
    ],
)
def test_a_bad_version_is_refused_and_the_old_one_keeps_answering(
    world: World, flaw: Flaw, reason: str
) -> None:
    world.target.flaw = flaw
    sentence = world.refused("2")
    assert reason in sentence
    assert sentence.endswith("version 1 keeps answering")
    assert world.target.users_get() == "1"
    assert world.target.sides[Side.GREEN].wanted == 0
    assert world.aliases.names == {Alias.CHAMPION: "1"}
    assert world.aliases.remarks["2"]["slipway.rollout"] == "failed"
    assert reason in world.aliases.remarks["2"]["slipway.rollout_reason"]


def test_a_bad_first_version_leaves_nothing_in_front_of_users(new: World) -> None:
    new.target.flaw = Flaw(lies={"1"})
    assert new.refused("1").endswith("no version answers")
    assert (new.target.live, new.target.users_get()) == (None, None)
    assert new.aliases.names == {}


@pytest.mark.parametrize("step", ["deploy", "progress", "ask_side", "ask_users_way"])
def test_a_place_that_fails_at_a_step_leaves_everything_as_it_was(world: World, step: str) -> None:
    world.target.flaw = Flaw(calls={step})
    with pytest.raises(StageError, match=f"no connection for {step}") as caught:
        world.roll_out("2")
    assert caught.value.exit_code == 1  # another try may work
    assert world.target.users_get() == "1"
    assert world.target.sides[Side.GREEN].wanted == 0
    assert world.aliases.names == {Alias.CHAMPION: "1"}
    world.target.flaw = Flaw()
    assert world.roll_out("2") is Status.DONE
    assert world.target.users_get() == "2"


def test_a_switch_that_fails_says_so_and_empties_nothing_users_may_reach(world: World) -> None:
    world.target.flaw = Flaw(calls={"select"})
    with pytest.raises(StageError, match="no connection for select"):
        world.roll_out("2")
    assert world.target.users_get() == "1"
    assert world.aliases.names == {Alias.CHAMPION: "1"}


def test_a_bad_version_that_can_not_be_taken_back_is_tried_again(world: World) -> None:
    """A refusal is final, and people are told that all is as before: that is not so yet."""
    world.target.flaw = Flaw(calls={"stop"}, lies={"2"})
    with pytest.raises(StageError, match="it could not be taken back") as caught:
        world.roll_out("2")
    assert caught.value.exit_code == 1
    world.target.flaw = Flaw(lies={"2"})
    assert world.refused("2").endswith("version 1 keeps answering")
    assert world.target.users_get() == "1"


@pytest.mark.parametrize("what", ["point champion 2", "point previous 1"])
def test_a_registry_that_fails_gives_users_the_old_version_back(world: World, what: str) -> None:
    world.aliases.broken[what] = "before"
    with pytest.raises(StageError, match="no registry"):
        world.roll_out("2")
    assert world.target.users_get() == "1"
    assert world.aliases.names == {Alias.CHAMPION: "1"}
    world.aliases.broken.clear()
    assert world.roll_out("2") is Status.DONE
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}


def test_a_lost_reply_about_the_alias_is_not_a_failure(world: World) -> None:
    world.aliases.broken["point champion 2"] = "after"
    assert world.roll_out("2") is Status.DONE
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}


def test_a_remark_that_can_not_be_written_changes_nothing(world: World) -> None:
    world.aliases.broken["remark 2"] = "before"
    assert world.roll_out("2") is Status.DONE
    assert any("could not be noted" in line for line in world.said)


def test_a_lost_remark_is_made_up_for_by_the_next_version(world: World) -> None:
    world.aliases.broken["remark 2"] = "before"
    world.roll_out("2")
    world.aliases.broken.clear()
    world.roll_out("3")
    assert world.aliases.names == {Alias.CHAMPION: "3", Alias.PREVIOUS: "2"}
    assert [world.roll_back(), world.roll_back()] == ["2", "1"]


class Killed(BaseException):
    """The end of the process in the middle of a step."""


def _kill_at(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner: object = world.aliases if step == "point" else world.target

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        with pytest.raises(Killed):
            world.roll_out("2")


STEPS = ["deploy", "progress", "ask_side", "select", "ask_users_way", "point"]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_roll_out_is_finished_by_the_next_try(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_at(world, step, monkeypatch)
    assert world.aliases.names == {Alias.CHAMPION: "1"}
    assert world.roll_out("2") is Status.DONE
    assert world.target.users_get() == "2"
    assert len(world.target.deploys) == 1
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_roll_out_is_undone_by_the_next_version(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_at(world, step, monkeypatch)
    assert world.roll_out("3") is Status.DONE
    assert world.target.users_get() == "3"
    assert world.target.sides[Side.BLUE].version == "1"  # the champion was not overwritten
    assert world.aliases.names == {Alias.CHAMPION: "3", Alias.PREVIOUS: "1"}


def test_a_version_found_bad_after_a_kill_gives_users_the_champion_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_at(world, "point", monkeypatch)
    assert world.target.users_get() == "2"
    world.target.flaw = Flaw(lies={"2"})
    assert world.refused("2").endswith("version 1 keeps answering")
    assert world.target.users_get() == "1"
    assert world.aliases.names == {Alias.CHAMPION: "1"}


def test_a_champion_that_scores_wrongly_is_not_called_healthy(world: World) -> None:
    world.target.flaw = Flaw(lies={"1"})
    assert "scores known row" in world.refused("1")
    assert world.target.live is Side.BLUE  # nothing better is there


def test_two_at_the_same_time_the_second_is_turned_away(world: World) -> None:
    with world.target.hold("parcels"), pytest.raises(BusyError, match="another roll-out"):
        world.roll_out("2")
    assert world.target.users_get() == "1"
