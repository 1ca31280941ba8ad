"""A file of a model's source as it is: a variant like those that are made of it."""

import os
from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Contents, FetchedModel, Gguf, ModelGguf
from llmpi.quant_types import FLOATS, PUBLISHED
from llmpi.records import failed, now, sha256_of_text

LEAST_SHARE = 0.01
"""Of the parameters: types of fewer (norms, mostly) are not named."""


def publish(folder: Path, manifest: FetchedModel | Failed, out: Path, quant: str) -> Gguf | Failed:
    """Make `out` a link to the file in `folder` that the variant `quant` is; its manifest.

    A failed manifest is passed on, beside an empty file; so is a checkpoint, as a failed manifest.
    """
    if manifest["status"] != "ok":
        out.touch()
        return failed(manifest["stage"], manifest["reason"], log_tail=manifest.get("log_tail"))
    found = _file(manifest, quant)
    if found is None:
        out.touch()
        return failed(
            "publish",
            "the source holds no such GGUF file that could be taken as it was published: it is a "
            "checkpoint. Give the model quants of its own, without as-published",
        )
    first = folder / found["files"][0]
    out.unlink(missing_ok=True)
    out.symlink_to(os.path.relpath(first, out.parent))
    parts = [manifest["files"][name] for name in found["files"]]
    sha256 = whole_sha256(manifest, found)
    return {
        "status": "ok",
        "quant": quant,
        "sha256": sha256,
        "bytes": sum(part["bytes"] for part in parts),
        "parts": parts if len(parts) > 1 else [],
        **found["contents"],
        "fallbacks": [],
        "lineage": [type_in(found["contents"])],
        "source": {"sha256": sha256, "manifest_sha256": files_sha256(manifest)},
        "imatrix": None,
        "engine": None,
        "converter": None,
        "training": None,
        "mix": None,
        "rounding": None,
        "lattice_tensors": None,
        "made": now(),
    }


def _file(manifest: FetchedModel, quant: str) -> ModelGguf | None:
    if quant == PUBLISHED:
        return next(iter(manifest["ggufs"]), None)
    from llmpi.study.models import variant_of  # and models of configs, which take a while

    named = {variant_of(found["files"][0]): found for found in manifest["ggufs"]}
    return named.get(quant)


def type_in(contents: Contents) -> str:
    """What the tensors of a file are, whatever it is called: `Q4_K+Q6_K`; most parameters first."""
    shares = {
        kind.upper(): held["parameters"] / contents["parameters"]
        for kind, held in contents["tensors_by_type"].items()
    }
    told = [kind for kind, share in shares.items() if share >= LEAST_SHARE]
    return "+".join(sorted(told, key=lambda kind: -shares[kind]))


def came_as(contents: Contents) -> str:
    """What the file is that others are made of: `F16`; of one that is quantized what it calls
    itself, and what its tensors are: `Q4_K_M (Q8_0+Q5_0)`."""
    own, mix = contents["file_type"], type_in(contents)
    if FLOATS.issuperset(mix.split("+")):
        return contents["main_type"]
    return mix if own in (None, mix) else f"{own} ({mix})"


def whole_sha256(manifest: FetchedModel, gguf: ModelGguf) -> str:
    """Of the file; of one in several parts, of their hashes, a line each."""
    hashes = [manifest["files"][name]["sha256"] for name in gguf["files"]]
    return hashes[0] if len(hashes) == 1 else sha256_of_text("\n".join(hashes))


def files_sha256(manifest: FetchedModel) -> str:
    """Of all files as they were fetched."""
    return sha256_of_text(str(sorted(manifest["files"].items())))
