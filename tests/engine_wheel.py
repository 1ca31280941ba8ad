"""A wheel of the engine that is installed here, as it is or edited: nothing has to be compiled."""

import base64
import hashlib
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

NAME = "llama-cpp-python"


def engine_wheel(folder: Path, edit: Callable[[str, bytes], bytes] = lambda _, held: held) -> Path:
    """The wheel, in a folder.

    Args:
        edit: given each file's path in the wheel and what it holds, says what it is to hold.
    """
    installed = distribution(NAME)
    info = f"{NAME.replace('-', '_')}-{installed.version}.dist-info"
    kept = [
        str(file)
        for file in installed.files or []
        if not str(file).startswith("..")
        and (not str(file).startswith(f"{info}/") or file.name in ("METADATA", "WHEEL"))
        and "__pycache__" not in file.parts
        and (file.parts[0] == "llama_cpp" or file.parts[0] == info)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    listed = []
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in kept:
            held = edit(name, Path(str(installed.locate_file(name))).read_bytes())
            archive.writestr(name, held)
            digest = base64.urlsafe_b64encode(hashlib.sha256(held).digest()).rstrip(b"=").decode()
            listed.append(f"{name},sha256={digest},{len(held)}\n")
        archive.writestr(f"{info}/RECORD", "".join([*listed, f"{info}/RECORD,,\n"]))
    return wheel
