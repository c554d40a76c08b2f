"""What a machine says when a file, a folder or a disk refuses: a sentence with the way out."""

import errno
import os
import re

from ml.core.errors import BadInputError, StageError

WAYS_OUT = {
    errno.EACCES: "this user may not: give it the right to read and write there",
    errno.EPERM: "this user may not: give it the right to read and write there",
    errno.EROFS: "it is read-only: name a place that can be written, or mount it writable",
    errno.ENOSPC: "the disk is full: make room, or name a place that has some",
    errno.EDQUOT: "this user's share of the disk is used up: make room, or name another place",
    errno.EFBIG: "the file would be larger than may be there: name another place",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away, or name another place",
    errno.EEXIST: "a file stands where a folder is needed: move it away, or name another place",
    errno.EISDIR: "a folder stands where a file is needed: move it away, or name another place",
    errno.ENOTEMPTY: "a folder stands where a file is needed: move it away, or name another place",
    errno.ENOENT: "there is no such place: make it, or name another one",
    errno.ENAMETOOLONG: "the name is too long for this disk: name a place with a shorter path",
    errno.ELOOP: "its links lead round in a circle: mend them, or name another place",
    errno.EIO: "the disk fails: have it looked at, or name another place",
}
"""What a person does about each refusal; it stays as it is until one does."""
PASSING = frozenset(
    {errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ESTALE}
)
_NUMBER = re.compile(r"\(os error (\d+)\)")


def number_of(error: BaseException) -> int | None:
    """Return the system's number of an error, also where a library wrote it into its text."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    written = _NUMBER.search(str(error))
    return int(written[1]) if written else None


def refusal(place: str, number: int) -> StageError:
    """Say that a place refused, and what to do; BadInputError but for what passes by itself."""
    said = os.strerror(number)
    if number in WAYS_OUT:
        return BadInputError(f"{place} can't be used ({said}): {WAYS_OUT[number]}")
    if number in PASSING:
        return StageError(f"{place} can't be used at the moment ({said}): try again later")
    return BadInputError(f"{place} can't be used ({said}): mend that, or name another place")


def told(error: OSError) -> StageError:
    """Say what an operating system's error means; StageError where waiting may help."""
    number = number_of(error)
    if error.filename is not None and number is not None:
        return refusal(str(error.filename), number)
    if number == errno.ENOSPC:
        return refusal("a folder of this machine", number)
    what = " ".join(str(error).split()) or type(error).__name__
    if passes(error):
        return StageError(f"a connection failed: {what}: try again later")
    return BadInputError(f"this machine refuses: {what}")


def passes(error: BaseException) -> bool:
    """Whether waiting may mend it: nobody answered, or something is used up for a moment."""
    import http.client
    import socket
    import urllib.error

    away = (ConnectionError, TimeoutError, urllib.error.URLError, socket.gaierror)
    if isinstance(error, (*away, http.client.HTTPException)):
        return True
    return isinstance(error, OSError) and number_of(error) in PASSING
