"""What a node has already is not sent to it again; all else arrives as it was."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "k8s/images/missing_blobs.py"


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def contents(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            member.name: file.read()
            for member in tar
            if (file := tar.extractfile(member)) is not None
        }


def filtered(data: bytes, digests: list[str], folder: Path) -> bytes:
    present, whole, missing = (folder / name for name in ("present", "whole.tar", "missing.tar"))
    present.write_text("".join(f"{digest}\n" for digest in digests))
    whole.write_bytes(data)
    command = [sys.executable, str(SCRIPT), str(present), str(whole), str(missing)]
    subprocess.run(command, check=True)
    return missing.read_bytes()


def test_only_the_blobs_that_the_node_has_are_left_out(tmp_path: Path) -> None:
    base, code = b"b" * 3_000_000, b"code"
    names = {content: f"blobs/sha256/{sha256(content).hexdigest()}" for content in (base, code)}
    image = {"oci-layout": b"{}", names[base]: base, names[code]: code, "index.json": b"{}"}

    sent = filtered(archive(image), [f"sha256:{sha256(base).hexdigest()}"], tmp_path)

    assert contents(sent) == {name: content for name, content in image.items() if content != base}


def test_a_node_without_any_gets_everything(tmp_path: Path) -> None:
    image = {
        "index.json": b"{}",
        "blobs/sha256/00": b"layer",
        "0123/layer.tar": b"an older engine's",
    }
    assert contents(filtered(archive(image), [], tmp_path)) == image
