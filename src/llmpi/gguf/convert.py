"""Bring a fetched model to the F16 GGUF file that every quantization of it starts from."""

from pathlib import Path, PurePosixPath

from llmpi.engine.records import Failed
from llmpi.errors import CellError
from llmpi.gguf.checkpoint import check
from llmpi.gguf.converter import write_gguf
from llmpi.gguf.inspect import inspect
from llmpi.gguf.published import came_as, files_sha256, whole_sha256
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Contents, FetchedModel, Gguf, Origin, Start
from llmpi.layout import BASE_QUANT
from llmpi.records import failed, now, sha256_of, whole_file


def convert(
    folder: Path,
    manifest: FetchedModel | Failed,
    out: Path,
    *,
    lock: Path,
    threads: int | None = None,
    outtype: str = BASE_QUANT,
) -> Gguf | Failed:
    """Make `out` from the model in `folder` and return its manifest.

    A GGUF that is quantized already is dequantized; its `lineage` says so, since an F16 made of
    Q4_1 is no reference for what quantization costs. A failed manifest is passed on, beside an
    empty file; so is what cannot be converted, as a failed manifest of its own.

    Args:
        lock: the lock file that pins the engine, whose sources hold the converter.
        threads: by default one for each core.
        outtype: F16, BF16 or F32.

    Raises:
        LlmpiError: the conversion could not be tried: no torch, no room, no network.
    """
    if manifest["status"] != "ok":
        out.touch()
        return failed(manifest["stage"], manifest["reason"], log_tail=manifest.get("log_tail"))
    if manifest["checkpoint"] or not manifest["ggufs"]:
        return _from_checkpoint(folder, manifest, out, lock, outtype)
    widest = manifest["ggufs"][0]
    source: Start = {
        "status": "ok",
        "sha256": whole_sha256(manifest, widest),
        "lineage": [came_as(widest["contents"])],
    }
    return quantize(
        folder / widest["files"][0],
        source,
        out,
        outtype,
        threads=threads,
        parameters=widest["contents"]["parameters"],
        fetched_sha256=files_sha256(manifest),
    )


def _published_name(origin: Origin) -> str:
    """Checkpoints come from the hub or from this machine."""
    assert origin["kind"] in ("hub", "path"), origin
    return PurePosixPath(origin["hub"] if origin["kind"] == "hub" else origin["path"]).name


def _check_of_one_model(inside: Contents, manifest: FetchedModel) -> None:
    """
    Raises:
        CellError: the checkpoint is not what the files beside it were made of.
    """
    for found in manifest["ggufs"]:
        if inside["architecture"] != found["contents"]["architecture"]:
            raise CellError(
                f"the checkpoint is a {inside['architecture']}, and {found['files'][0]} a "
                f"{found['contents']['architecture']}: they are not of one model"
            )


def _from_checkpoint(
    folder: Path, manifest: FetchedModel, out: Path, lock: Path, outtype: str
) -> Gguf | Failed:
    try:
        facts = check(folder)
        with whole_file(out) as partial:
            made_by = write_gguf(
                folder,
                facts,
                partial,
                name=_published_name(manifest["checkpoint"] or manifest["origin"]),
                outtype=outtype,
                lock=lock,
            )
            inside = inspect(partial)
            _check_of_one_model(inside, manifest)
            from llmpi.gguf.lattice import tensors_on_lattice  # it takes numpy

            on_lattice = tensors_on_lattice(partial)
    except CellError as error:
        out.write_bytes(b"")
        return failed("convert", str(error))
    return {
        "status": "ok",
        "quant": outtype,
        "sha256": sha256_of(out),
        "bytes": out.stat().st_size,
        "parts": [],
        **inside,
        "fallbacks": [],
        "lineage": [facts["dtype"], outtype],
        "source": {"sha256": None, "manifest_sha256": files_sha256(manifest)},
        "imatrix": None,
        "engine": None,
        "converter": made_by,
        "training": None,
        "mix": None,
        "rounding": None,
        "lattice_tensors": on_lattice,
        "made": now(),
    }
