"""Samples of questions in few characters: a command's argument holds 128 KiB (Linux,
MAX_ARG_STRLEN), and prompts have a long beginning in common."""

import base64
import json
import zlib
from collections.abc import Mapping

from llmpi.engine.records import Sample


def packed(samples: Mapping[str, Sample]) -> str:
    """As a text of letters and digits."""
    return base64.b64encode(zlib.compress(json.dumps(samples).encode(), 9)).decode()


def unpacked(text: str) -> dict[str, Sample]:
    found: dict[str, Sample] = json.loads(zlib.decompress(base64.b64decode(text)))
    return found
