"""Copy the archive of `docker save` without the blobs that a node has.

Usage: python3 missing_blobs.py FILE-WITH-DIGESTS IMAGE.tar WHAT-IS-MISSING.tar
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

BUFFER = 1 << 20
BLOBS = "blobs/sha256/"


def copy_missing(source: Path, target: Path, present: set[str]) -> None:
    """Copy an archive, leaving out the blobs whose digests (64 hex digits) are `present`.

    As files: a stream of tarfile's own takes five times as long.
    """
    with tarfile.TarFile(source) as old, tarfile.TarFile(target, "w", copybufsize=BUFFER) as new:
        for member in old:
            if member.name.startswith(BLOBS) and member.name[len(BLOBS) :] in present:
                continue
            new.addfile(member, old.extractfile(member) if member.isfile() else None)


if __name__ == "__main__":
    digests = Path(sys.argv[1]).read_text(encoding="ascii").split()
    copy_missing(
        Path(sys.argv[2]),
        Path(sys.argv[3]),
        {digest.removeprefix("sha256:") for digest in digests},
    )
