"""Copy the archive of `docker save` without the blobs that a node has.

Usage: python3 missing_blobs.py FILE-WITH-DIGESTS <IMAGE.tar >WHAT-IS-MISSING.tar
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import BinaryIO

BUFFER = 1 << 20
BLOBS = "blobs/sha256/"


def copy_missing(source: BinaryIO, target: BinaryIO, present: set[str]) -> None:
    """Copy a tar stream, leaving out the blobs whose digests (64 hex digits) are `present`."""
    with (
        tarfile.open(fileobj=source, mode="r|", bufsize=BUFFER) as old,
        tarfile.open(fileobj=target, mode="w|", bufsize=BUFFER) as new,
    ):
        for member in old:
            if member.name.startswith(BLOBS) and member.name[len(BLOBS) :] in present:
                continue
            new.addfile(member, old.extractfile(member) if member.isfile() else None)


if __name__ == "__main__":
    digests = Path(sys.argv[1]).read_text(encoding="ascii").split()
    copy_missing(
        sys.stdin.buffer, sys.stdout.buffer, {digest.removeprefix("sha256:") for digest in digests}
    )
