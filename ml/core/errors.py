"""The ways a stage may end badly, each with the exit code its caller acts on."""


class StageError(Exception):
    """A stage could not do its work; the message is one sentence for a person.

    Trying again later may help (exit code 1).
    """

    exit_code = 1


class BadInputError(StageError):
    """Data or configuration is wrong, so trying again gives the same answer (exit code 3)."""

    exit_code = 3


def failure(sentence: str, *, passing: bool) -> StageError:
    """Return the error for a sentence: StageError where waiting may help, else BadInputError."""
    return StageError(sentence) if passing else BadInputError(sentence)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or the name of its kind when it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class BrokenContractError(StageError):
    """A deployed model does not do what was promised for it; nothing was taken back (exit 3)."""

    exit_code = 3


class RolloutRefusedError(StageError):
    """The new version failed its checks and the old one keeps answering (exit code 4)."""

    exit_code = 4


class Stopped(SystemExit):
    """Whoever runs the stage wants it to end; code of a user's may not keep it from that."""
