"""What an object store says when it refuses or is away, as one sentence of ours.

The library has a class for a few kinds only, and tells the rest in words: the system's number for
a folder, the status and S3's own code for a bucket.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ml.core.disk import number_of, refusal
from ml.core.errors import BadInputError, StageError, first_line

SETTINGS = "SLIPWAY_LANDING_URL, SLIPWAY_DATA_URL or SLIPWAY_MODELS_URL"
LOGIN = (
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role, and what its user may do there"
)
SETUP = f"check AWS_ENDPOINT_URL, AWS_REGION, AWS_ALLOW_HTTP and {SETTINGS}"
FULL = frozenset({"XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"})
# What the library says of an address or of keys that no request can be made with.
UNUSABLE = ("builder error", "Missing", "recognise URL", "redirect", "InvalidUri")
NO_BUCKET = "<Code>NoSuchBucket</Code>"
# Statuses below 500 that another try may not meet again.
PASSING = frozenset({408, 409, 412, 425, 429})
_STATUS = re.compile(r"status code: (\d{3})")
_PLACE = re.compile(r"(?:file|dir) (/.+?)(?:#\d+)?: ")
_CODE = re.compile(r"<Code>(\w+)</Code>")


@contextmanager
def reached(url: str, *, leave: type[Exception] | None = None) -> Iterator[None]:
    """Turn the store's own errors into one sentence; BadInputError unless waiting may help.

    `leave` is the one that the caller knows what to do about: that an object is not there, or is
    there already. That there is no object to read is never said of a bucket that is missing.
    """
    try:
        yield
    except BaseException as error:
        left = leave is not None and isinstance(error, leave) and NO_BUCKET not in str(error)
        if left or not _is_the_stores(error):
            raise
        raise _told(url, error) from error


def _is_the_stores(error: BaseException) -> bool:
    from obstore.exceptions import BaseError

    # A panic of Rust's is no Exception, and its class has no other name to go by.
    return isinstance(error, (BaseError, OSError, ValueError)) or _is_panic(error)


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"


def _told(url: str, error: BaseException) -> StageError:
    text = str(error)
    if url.startswith("file:") and (number := number_of(error)) is not None:
        return refusal(_first(_PLACE, text) or url, number)
    code, status = _first(_CODE, text), int(_first(_STATUS, text) or 0)
    why = code or (f"status {status}" if status else first_line(error))
    if status in (401, 403) or type(error).__name__ in (
        "PermissionDeniedError",
        "UnauthenticatedError",
    ):
        return BadInputError(f"the object store {url} refuses this login ({why}): {LOGIN}")
    if status == 404 or isinstance(error, FileNotFoundError):
        return BadInputError(
            f"there is no {url}, or nothing can be kept there ({why}): make it, or name another "
            f"place in {SETTINGS}"
        )
    if code in FULL or status == 507:
        return BadInputError(f"the object store {url} is full ({why}): make room there")
    refused = 300 <= status < 500 and status not in PASSING
    if refused or _is_unusable(error):
        return BadInputError(f"the object store {url} can't be asked ({why}): {SETUP}")
    return StageError(f"the object store {url} did not answer: {first_line(error)}")


def _is_unusable(error: BaseException) -> bool:
    said = first_line(error)
    return isinstance(error, ValueError) or any(word in said for word in UNUSABLE)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
