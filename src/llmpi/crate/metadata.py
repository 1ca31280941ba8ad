"""`ro-crate-metadata.json`: a study's file as others read it, by RO-Crate 1.1.

Soiland-Reyes et al., *Packaging research artefacts with RO-Crate*, Data Science 2022;
https://www.researchobject.org/ro-crate/specification/1.1/. It follows from the manifest alone.
"""

import json
from collections.abc import Mapping

from llmpi.crate.contents import CONFIG, DERIVED, LOCK, MANIFEST, METADATA
from llmpi.crate.records import CrateFile, Manifest, NotHeld
from llmpi.layout import at

Entity = dict[str, object]  # as JSON-LD has it

CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
]
FORMATS = {
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".csv": "text/csv",
    ".html": "text/html",
}
SOFTWARE = {"@id": "#llmpi"}


def metadata_text(manifest: Manifest, manifest_sha256: str, manifest_bytes: int) -> str:
    """The file's text."""
    own: CrateFile = {"sha256": manifest_sha256, "bytes": manifest_bytes, "fields": None}
    graph = _graph(manifest, {MANIFEST: own, **manifest["files"]})
    return json.dumps({"@context": CONTEXT, "@graph": graph}, indent=1, ensure_ascii=False) + "\n"


def _graph(manifest: Manifest, files: Mapping[str, CrateFile]) -> list[Entity]:
    results = [at(pattern, study=manifest["study"]) for pattern in DERIVED]
    records = [name for name in files if name not in (MANIFEST, CONFIG, LOCK, *results)]
    return [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"llmpi study {manifest['study']}",
            "description": (
                "Which language model at which bit width on which Raspberry Pi: raw records, "
                "config, and the summary, decision and page that follow from them"
                f"{'; hosts, users and paths were taken out' if manifest['redacted'] else ''}. "
                "`llmpi verify` computes them again."
            ),
            "datePublished": manifest["summarized"],
            "license": "not stated; ask whoever published it",
            "hasPart": [{"@id": name} for name in files],
            "mentions": [{"@id": _id(i)} for i in range(len(manifest["not_held"]))]
            + [{"@id": "#summary"}],
        },
        {
            "@id": "#summary",
            "@type": "CreateAction",
            "name": "Summary, decision and page",
            "instrument": SOFTWARE,
            "endTime": manifest["summarized"],
            "object": [{"@id": name} for name in (CONFIG, *records)],
            "result": [{"@id": name} for name in results],
        },
        {
            **SOFTWARE,
            "@type": "SoftwareApplication",
            "name": "llmpi",
            "softwareVersion": manifest["llmpi"],
            "softwareRequirements": [
                f"Python {manifest['python']}",
                *(f"{name} {version}" for name, version in manifest["packages"].items()),
            ],
        },
        *(_file(name, file) for name, file in files.items()),
        *(_not_held(_id(i), one) for i, one in enumerate(manifest["not_held"])),
    ]


def _id(number: int) -> str:
    return f"#not-held-{number + 1}"


def _file(name: str, file: CrateFile) -> Entity:
    return {
        "@id": name,
        "@type": "File",
        "name": name.rpartition("/")[2],
        "encodingFormat": FORMATS.get(name[name.rfind(".") :], "application/octet-stream"),
        "contentSize": str(file["bytes"]),
        "sha256": file["sha256"],
    }


def _not_held(name: str, one: NotHeld) -> Entity:
    found: Entity = {
        "@id": name,
        "@type": "CreativeWork",
        "name": f"{one['what']} {one['name']}",
        "description": f"Not in this file. Source: {one['source']}",
    }
    if one["sha256"]:
        found["sha256"] = one["sha256"]
    if one["bytes"] is not None:
        found["contentSize"] = str(one["bytes"])
    return found
