"""The way back: one further each time, from the registry if need be; what is taken stays back."""

from __future__ import annotations

import pytest

from ml.core.errors import BadInputError, RolloutRefusedError, StageError
from ml.core.record import Status
from ml.registry.aliases import Alias
from ml.rollout.history import Word
from ml.rollout.target import Deployed, Side
from tests.code.memory_target import Flaw
from tests.code.world import World


@pytest.fixture
def world() -> World:
    """Three versions became champion one after the other."""
    made = World()
    for version in ("1", "2", "3"):
        assert made.roll_out(version) is Status.DONE
    made.target.deploys.clear()
    made.target.selections.clear()
    return made


def tag(world: World, version: str, name: str) -> str:
    return world.aliases.remarks[version].get(f"slipway.{name}", "")


def test_going_back_takes_the_champion_from_its_users_and_says_who_and_why(world: World) -> None:
    assert world.roll_back() == "2"
    assert world.target.users_get() == "2"
    assert world.target.deploys == []  # nothing had to start
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}
    assert tag(world, "3", "taken_back").endswith(" UTC, by anna: the scores drift")
    assert tag(world, "3", "rollout") == "done"  # it is history, and true
    assert tag(world, "2", "rollout_reason") == "users went back to it from version 3"


def test_a_second_time_goes_one_further_back_and_a_third_says_that_there_is_nothing(
    world: World,
) -> None:
    assert [world.roll_back(), world.roll_back()] == ["2", "1"]
    assert world.target.users_get() == "1"
    assert world.aliases.names == {Alias.CHAMPION: "1"}
    with pytest.raises(BadInputError) as caught:
        world.roll_back()
    assert str(caught.value) == (
        "version 1 of parcels stays: there is no version before it to go back to but what was "
        "taken back (2, 3)"
    )
    assert world.target.users_get() == "1"
    assert not tag(world, "1", "taken_back")


def test_with_one_version_there_is_no_way_back() -> None:
    world = World()
    with pytest.raises(BadInputError, match="no version of parcels is champion"):
        world.roll_back()
    world.roll_out("1")
    with pytest.raises(BadInputError, match=r"no version before it to go back to$"):
        world.roll_back()
    assert world.target.users_get() == "1"


@pytest.mark.parametrize("by", ["anna", "monitoring"])
def test_what_was_taken_back_is_not_rolled_out_again(world: World, by: str) -> None:
    world.roll_back(Word(by, ""))
    before = world.aliases.names
    # Its day is run again: it is compared with today's champion, and would win anew.
    ended = world.attempt("3", compared_with="2")
    assert ended.status is Status.REFUSED
    assert f"by {by}: no reason was given" in ended.reason
    assert "make rollback PROJECT=parcels GIVE_BACK=3" in ended.reason
    assert world.target.users_get() == "2"
    assert world.aliases.names == before
    assert ended.reason in tag(world, "3", "rollout_reason")
    assert world.attempt("3", compared_with="2") == ended


def test_a_person_can_give_it_back(world: World) -> None:
    world.roll_back()
    world.give_back("3")
    assert world.target.users_get() == "2"  # nothing moves by that alone
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}
    assert "by ben: it was the data (it was taken back " in tag(world, "3", "given_back")
    assert world.roll_out("3", compared_with="2") is Status.DONE
    assert world.aliases.names == {Alias.CHAMPION: "3", Alias.PREVIOUS: "2"}


def test_only_what_was_taken_back_can_be_given_back(world: World) -> None:
    with pytest.raises(BadInputError, match="version 2 of parcels was not taken back"):
        world.give_back("2")
    with pytest.raises(BadInputError, match="parcels has no version 9"):
        world.give_back("9")


def test_a_new_version_wins_and_the_way_back_passes_over_what_was_taken(world: World) -> None:
    world.roll_back()
    assert world.roll_out("4", compared_with="2") is Status.DONE
    assert world.aliases.names == {Alias.CHAMPION: "4", Alias.PREVIOUS: "2"}
    world.give_back("3")
    assert world.aliases.names[Alias.PREVIOUS] == "3"  # the last champion that was not taken
    assert [world.roll_back(), world.roll_back(), world.roll_back()] == ["3", "2", "1"]


def test_the_way_back_follows_the_champions_and_not_their_numbers() -> None:
    world = World()
    for version in ("2", "1", "3"):
        world.roll_out(version)
    assert [world.roll_back(), world.roll_back()] == ["1", "2"]


def test_a_failed_roll_out_over_the_side_of_the_previous_version_does_not_cost_the_way_back(
    world: World,
) -> None:
    world.target.flaw = Flaw(lies={"4"})
    world.refused("4")
    assert world.target.sides[Side.GREEN].wanted == 0  # where version 2 was
    assert world.aliases.names[Alias.PREVIOUS] == "2"
    assert world.roll_back() == "2"
    assert world.target.users_get() == "2"
    assert world.target.deploys[-1] == ("2", Side.GREEN)
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}


def test_users_who_get_nothing_get_the_version_before(world: World) -> None:
    world.target.live, world.target.sides = None, {side: Deployed() for side in Side}
    assert world.roll_back() == "2"
    assert world.target.users_get() == "2"


@pytest.mark.parametrize(
    ("runs", "flaw"),
    [
        (True, Flaw(lies={"2"})),
        (True, Flaw(users_way_stuck=True)),
        (False, Flaw(lies={"2"})),
        (False, Flaw(dies={"2"})),
        (False, Flaw(sleeps={"2"})),
        (False, Flaw(users_way_stuck=True)),
    ],
)
def test_a_version_that_fails_is_not_gone_back_to(world: World, flaw: Flaw, *, runs: bool) -> None:
    if not runs:
        world.target.sides[Side.GREEN] = Deployed()
    names = world.aliases.names
    world.target.flaw = flaw
    with pytest.raises(RolloutRefusedError, match="users stay where they are, as version 2"):
        world.roll_back()
    assert world.target.users_get() == "3"
    assert world.aliases.names[Alias.CHAMPION] == names[Alias.CHAMPION]
    assert not tag(world, "3", "taken_back")
    assert tag(world, "2", "rollout") == "failed"
    # The next try takes another, and there is always one to try.
    assert world.aliases.names[Alias.PREVIOUS] == "1"
    world.target.flaw = Flaw()
    assert world.roll_back() == "1"


def test_the_only_version_before_can_be_tried_again_after_it_failed() -> None:
    world = World()
    world.roll_out("1")
    world.roll_out("2")
    world.target.flaw = Flaw(silent={"1"})
    with pytest.raises(RolloutRefusedError):
        world.roll_back()
    world.target.flaw = Flaw()
    assert world.roll_back() == "1"


@pytest.mark.parametrize("step", ["view", "deploy", "progress", "ask_side", "ask_users_way"])
def test_a_place_that_fails_leaves_everything_as_it_was(world: World, step: str) -> None:
    world.target.sides[Side.GREEN] = Deployed()
    names = world.aliases.names
    world.target.flaw = Flaw(calls={step})
    with pytest.raises(StageError, match=f"no connection for {step}"):
        world.roll_back()
    world.target.flaw = Flaw()
    assert world.target.users_get() == "3"
    assert world.aliases.names == names
    assert not tag(world, "3", "taken_back")
    assert world.roll_back() == "2"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["remark 3", "point champion 2", "point previous 1", "remark 2"])
def test_a_registry_that_fails_makes_no_second_step_of_the_next_try(
    world: World, what: str, when: str
) -> None:
    world.aliases.broken[what] = when
    try:
        world.roll_back()
    except ConnectionError:
        world.aliases.broken.clear()
        world.roll_back()
    assert world.target.users_get() == "2"
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}
    assert tag(world, "3", "taken_back")
    assert not tag(world, "2", "taken_back")


class Killed(BaseException):
    """The end of the process in the middle of a step."""


def kill_at(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner: object = world.aliases if step in ("point", "remark") else world.target

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        with pytest.raises(Killed):
            world.roll_back()


STEPS = ["deploy", "progress", "ask_side", "remark", "select", "ask_users_way", "point"]


@pytest.mark.parametrize("step", STEPS)
def test_a_roll_back_that_was_killed_is_finished_by_the_next_try(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.target.sides[Side.GREEN] = Deployed()
    kill_at(world, step, monkeypatch)
    assert world.roll_back() == "2"
    assert world.aliases.names == {Alias.CHAMPION: "2", Alias.PREVIOUS: "1"}


@pytest.mark.parametrize("step", STEPS)
def test_a_roll_back_that_was_killed_does_not_bring_users_back_to_what_was_taken(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.target.sides[Side.GREEN] = Deployed()
    kill_at(world, step, monkeypatch)
    taken, reached = tag(world, "3", "taken_back"), world.target.users_get()
    world.target.flaw = Flaw(lies={"4"})
    world.refused("4")
    assert world.target.users_get() == reached
    if taken:
        assert world.attempt("3").status is Status.REFUSED
    world.target.flaw = Flaw()
    assert world.roll_out("4") is Status.DONE
    assert world.aliases.names == {Alias.CHAMPION: "4", Alias.PREVIOUS: "2" if taken else "3"}


def killed_in_front_of_users(world: World, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Roll a version out as far as to its users, and no further."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(world.aliases, "point", die)
        with pytest.raises(Killed):
            world.roll_out(version)


def test_from_what_was_never_confirmed_users_go_back_to_the_champion(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_front_of_users(world, monkeypatch, "4")
    assert world.target.users_get() == "4"
    assert world.roll_back() == "3"
    assert world.target.users_get() == "3"
    assert world.aliases.names == {Alias.CHAMPION: "3", Alias.PREVIOUS: "2"}
    assert tag(world, "4", "taken_back")
    assert world.attempt("4", compared_with="3").status is Status.REFUSED


def test_a_mark_that_was_made_by_hand_counts_and_takes_users_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A roll-out was killed in front of users, and somebody marks the version in MLflow's UI."""

    killed_in_front_of_users(world, monkeypatch, "4")
    world.aliases.remarks["4"]["slipway.taken_back"] = "no"
    assert world.attempt("4", compared_with="3").status is Status.REFUSED
    assert world.target.users_get() == "3"


def test_what_was_champion_without_a_note_of_it_is_gone_back_to_once_it_is_given_back(
    world: World,
) -> None:
    world.aliases.broken["remark 4"] = "before"
    world.roll_out("4")
    world.aliases.broken.clear()
    assert world.roll_back() == "3"
    world.roll_out("5")
    world.give_back("4")
    assert world.aliases.names[Alias.PREVIOUS] == "4"


def test_versions_from_before_champions_were_counted_are_gone_back_to(world: World) -> None:
    """Version 3 was rolled back in those days, when nothing was noted of that but the aliases."""
    for tags in world.aliases.remarks.values():
        del tags["slipway.champion_number"]
    world.target.live = Side.GREEN
    world.aliases.models.aliases.update(champion="2", previous="3")
    assert world.roll_out("4", compared_with="2") is Status.DONE
    assert world.aliases.names == {Alias.CHAMPION: "4", Alias.PREVIOUS: "2"}
    assert [world.roll_back(), world.roll_back()] == ["2", "1"]
