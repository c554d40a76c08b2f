"""The gate and the way back, hunted: made-up histories of train, fail, roll back and rerun.

The place and the registry are in memory and keep the rules of the real ones; the decision, what is
remembered of it, the aliases, the roll-out and the roll-back are the real ones. A model's book of
its own says what must be so after every step.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ml.core.errors import BadInputError, RolloutRefusedError, StageError
from ml.core.job import Job
from ml.core.project import Gate
from ml.core.record import Record, Status
from ml.core.settings import Settings
from ml.registry.decisions import Decided, remember
from ml.registry.tracking import champion, versions_of
from ml.rollout.history import TAKEN_BACK
from ml.rollout.target import Deployed
from ml.serving.manifest import Trained
from ml.stages import Stage
from ml.training.evaluate import rival_digest
from ml.training.gate import Measured, decide
from ml.training.intervals import Interval
from tests.code.memory_registry import PROJECT, MemoryAliases, MemoryRegistry
from tests.code.memory_target import MemoryTarget, release
from tests.code.world import World

FIRST_DAY = date(2013, 3, 1)
BROKEN = 9
"""How good a model is that passes the gate and then answers wrongly."""
GATE = Gate(min_skill=0.1, min_gain=0.0)
JOB = Job.of(PROJECT, FIRST_DAY, Settings(data_url=tempfile.gettempdir()))

PLACES = ("view", "deploy", "progress", "ask_side", "select", "ask_users_way", "stop")
NAMES = ("point", "remark", "versions")
Candidate = tuple[int, int]
"""The day, and how good a model that day's code makes."""
CANDIDATES = st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, BROKEN]))


class Killed(BaseException):
    """The end of the process in the middle of a step."""


@dataclass
class Registered:
    """What register hands to roll_out."""

    version: str
    deploy: bool
    rival: str


@dataclass
class Trainings:
    """What the stages before the roll-out do, each evaluation once."""

    models: MemoryRegistry
    known: dict[tuple[str, str], Registered] = field(default_factory=dict)

    def register(self, candidate: Candidate) -> Registered:
        """Compare the candidate with today's champion and register it with the decision."""
        name = f"{candidate[0]}-{candidate[1]}"
        with patch("ml.registry.tracking.registry", lambda _: nullcontext(self.models)):
            current = champion(JOB)
        rival = rival_digest(current, name)
        if (name, rival) not in self.known:
            other = current.fingerprint if current and current.fingerprint != name else None
            self.known[name, rival] = self._registered(candidate, name, other, rival)
        return self.known[name, rival]

    def _registered(
        self, candidate: Candidate, name: str, other: str | None, rival: str
    ) -> Registered:
        decision = decide(GATE, *_compared(candidate, other))
        found = versions_of(self.models, PROJECT, name)
        version = str(found[0].version) if found else self._create(name)
        trained = _record(Stage.TRAIN, name, run_id=name, sha256="", train_until="")
        words = {"decision": "deploy" if decision.deploy else "refuse", "rival": rival}
        scores = dict.fromkeys(("candidate_score", "champion_score", "latency_ms"))
        evaluated = _record(
            Stage.EVALUATE, f"{name}-{rival}", reason=decision.reason, **words, **scores
        )
        remember(self.models, Decided(JOB, trained, evaluated, version, {}))
        return Registered(version, decision.deploy, rival)

    def _create(self, name: str) -> str:
        version = str(len(self.models.tags) + 1)
        tags = {"slipway.fingerprint": name, "slipway.sha256": release(version).sha256}
        return self.models.create_model_version(PROJECT, "", tags=tags).version


def _record(stage: Stage, fingerprint: str, **facts: object) -> Record:
    return Record(
        stage=stage, project=PROJECT, as_of=FIRST_DAY, fingerprint=fingerprint, facts=facts
    )


def _compared(candidate: Candidate, other: str | None) -> tuple[Measured, str, Trained | None]:
    """What is measured of a candidate, from when its holdout is, and who its rival is.

    The last two days only test, and the ones before are learnt from.
    """
    day, level = candidate
    holdout_from = str(FIRST_DAY + timedelta(days=day - 1))
    quality = _quality(level)
    measured = Measured(Interval(quality, quality - 0.01, quality + 0.01), latency_ms=1)
    if other is None:
        return measured, holdout_from, None
    other_day, other_level = map(int, other.split("-"))
    gain = quality - _quality(other_level)
    versus = Interval(_quality(other_level), 0, 1)
    until = FIRST_DAY + timedelta(days=other_day - 2)
    rival = Trained(as_of="", fingerprint=other, train_until=str(until))
    measured = replace(measured, champion=versus, gain=Interval(gain, gain - 0.02, gain + 0.02))
    return measured, holdout_from, rival


def _quality(level: int) -> float:
    return 0.65 + 0.05 * level


class Histories(RuleBasedStateMachine):
    """One project, from its first day on."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.aliases: MemoryAliases = self.world.aliases
        self.target: MemoryTarget = self.world.target
        self.trainings = Trainings(self.aliases.models)
        self.waiting: list[Registered] = []
        self.run_days: set[Candidate] = set()
        # The book: versions the gate let through, champions in their order, what was taken back.
        self.passed: set[str] = set()
        self.reigns: list[str] = []
        self.taken: set[str] = set()
        # A roll-out, or a roll-back, was killed and not finished yet.
        self.cut = False
        self.cut_back = False

    @property
    def champion(self) -> str | None:
        return self.aliases.models.aliases.get("champion")

    def state(self) -> object:
        """What a rerun may not change."""
        tags = {version: dict(tags) for version, tags in self.aliases.remarks.items()}
        return dict(self.aliases.models.aliases), tags, self.target.users_get()

    def way_back(self) -> str | None:
        """By the book: the last champion before this one that was not taken back."""
        if self.champion is None:
            return None
        before = self.reigns[: self.reigns.index(self.champion)]
        return next((version for version in reversed(before) if version not in self.taken), None)

    def train(self, candidate: Candidate) -> Registered:
        registered = self.trainings.register(candidate)
        self.run_days.add(candidate)
        if registered.deploy:
            self.passed.add(registered.version)
        if candidate[1] == BROKEN:
            self.target.flaw.lies.add(registered.version)
        return registered

    def deploy(self, registered: Registered) -> Status | None:
        """Roll out what the gate let through; None when it failed its checks."""
        made = replace(release(registered.version), rival=registered.rival)
        before = self.champion
        try:
            ended = self.world.machine.carry_out(made)
        except RolloutRefusedError:
            assert registered.version in self.target.flaw.lies
            # Without a champion, users keep what a killed roll-out of a first version gave them.
            self.cut = self.cut and before is None
            return None
        if registered.version in self.taken:
            assert ended.status is Status.REFUSED
            assert "was taken back" in ended.reason
        self.cut = False
        if ended.status is Status.DONE:
            self.crowned(registered, before)
        return ended.status

    def crowned(self, registered: Registered, before: str | None) -> None:
        version = registered.version
        assert self.champion == version
        self.cut_back = False
        if version != before:
            # It was let through against the one whose place it takes, and not another.
            assert before is None or release(before).sha256 == registered.rival
            self.reigns = [*(one for one in self.reigns if one != version), version]

    # What may happen.

    @rule(candidate=CANDIDATES)
    def a_day_is_run(self, candidate: Candidate) -> None:
        registered = self.train(candidate)
        if registered.deploy:
            self.deploy(registered)

    @rule(newer=st.integers(0, 1))
    def a_better_model_comes(self, newer: int) -> None:
        """Without it hardly a history would have many champions."""
        tags = self.aliases.remarks.get(self.champion or "", {})
        day, level = map(int, tags.get("slipway.fingerprint", "0-0").split("-"))
        self.a_day_is_run((day + newer, level + 1 if level + 1 != BROKEN else level + 2))

    @rule(candidate=CANDIDATES)
    def a_day_is_trained_and_waits(self, candidate: Candidate) -> None:
        registered = self.train(candidate)
        if registered.deploy:
            self.waiting.append(registered)

    @precondition(lambda self: self.waiting)
    @rule(number=st.integers(0, 9))
    def what_waited_is_rolled_out(self, number: int) -> None:
        self.deploy(self.waiting.pop(number % len(self.waiting)))

    @rule(candidate=CANDIDATES, step=st.sampled_from(PLACES))
    def the_place_fails(self, candidate: Candidate, step: str) -> None:
        registered, before = self.train(candidate), self.champion
        if not registered.deploy:
            return
        self.target.flaw.calls.add(step)
        try:
            self.deploy(registered)
        except StageError:
            # As far as it got it is undone, or the next one undoes it.
            self.cut = True
            assert self.champion == before
        finally:
            self.target.flaw.calls.clear()

    @rule(candidate=CANDIDATES, step=st.sampled_from(PLACES + NAMES))
    def a_roll_out_is_killed(self, candidate: Candidate, step: str) -> None:
        registered, before = self.train(candidate), self.champion
        if registered.deploy and self.killed(lambda: self.deploy(registered), step):
            self.cut = True
            if self.champion != before:
                self.crowned(registered, before)

    def killed(self, act: object, step: str) -> bool:
        """Do something in a process that ends in a step, if it gets there."""
        owner = self.target if step in PLACES else self.aliases

        def die(*_: object) -> None:
            raise Killed

        try:
            with patch.object(owner, step, die):
                act()  # type: ignore[operator]
        except Killed:
            return True
        return False

    @rule()
    def a_person_rolls_back(self) -> None:
        live = self.target.users_get()
        stranded = live not in (None, self.champion) and not self.cut_back
        leaving, expected = (live, self.champion) if stranded else (self.champion, self.way_back())
        if self.champion is None or expected is None:
            before = self.state()
            with pytest.raises(BadInputError, match="to go back to"):
                self.world.roll_back()
            assert self.state() == before
            return
        assert self.world.roll_back() == expected
        assert leaving
        self.taken.add(leaving)
        self.cut = self.cut_back = False

    @precondition(lambda self: not self.cut)
    @rule(step=st.sampled_from(PLACES + NAMES))
    def a_roll_back_is_killed(self, step: str) -> None:
        leaving = self.champion
        if self.champion is None or self.way_back() is None:
            return
        if not self.killed(self.a_person_rolls_back, step):
            return
        if TAKEN_BACK in self.aliases.remarks[str(leaving)]:
            self.taken.add(str(leaving))
            self.cut_back = self.champion == leaving

    @precondition(lambda self: self.taken and not (self.cut or self.cut_back))
    @rule(number=st.integers(0, 9))
    def a_person_gives_one_back(self, number: int) -> None:
        version = sorted(self.taken)[number % len(self.taken)]
        self.world.give_back(version)
        self.taken.discard(version)

    @precondition(lambda self: self.target.live and not (self.cut or self.cut_back))
    @rule()
    def the_side_without_users_is_lost(self) -> None:
        assert self.target.live
        self.target.sides[self.target.live.other] = Deployed()

    @precondition(lambda self: not (self.cut or self.cut_back))
    @rule(candidate=CANDIDATES)
    def the_days_of_champions_and_of_what_was_taken_change_nothing(
        self, candidate: Candidate
    ) -> None:
        registered = self.train(candidate)
        if registered.version in {self.champion, *self.taken} and registered.deploy:
            self.deploy(registered)
            before = self.state()
            self.a_day_is_run(candidate)
            assert self.state() == before

    # What must be so.

    @invariant()
    def the_champion_is_fit_to_be_one(self) -> None:
        if self.champion is not None:
            assert self.champion in self.passed
            assert self.champion not in self.target.flaw.lies
            assert self.champion in self.reigns
            assert self.cut_back or self.champion not in self.taken

    @invariant()
    def users_get_the_champion(self) -> None:
        if not (self.cut or self.cut_back):
            assert self.target.users_get() == self.champion

    @invariant()
    def previous_is_where_the_way_back_leads(self) -> None:
        if not (self.cut or self.cut_back):
            assert self.aliases.models.aliases.get("previous") == self.way_back()

    @invariant()
    def the_marks_are_those_of_the_book(self) -> None:
        marked = {v for v, tags in self.aliases.remarks.items() if TAKEN_BACK in tags}
        assert marked == self.taken

    def teardown(self) -> None:
        """A rerun of everything changes nothing: the first may finish or compare anew, no other."""
        if self.cut_back:
            self.a_person_rolls_back()
        for candidate in sorted(self.run_days):
            self.a_day_is_run(candidate)
        self.the_champion_is_fit_to_be_one()
        before = self.state()
        for candidate in sorted(self.run_days):
            self.a_day_is_run(candidate)
        assert self.state() == before


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
