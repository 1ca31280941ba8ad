"""Engines that are held against one another: did the update make it slower on my board?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from llmpi.study.devices import SingleDevice
from llmpi.study.fields import Id, LocalPath, Part, one_of, unique
from llmpi.study.measuring import Runtime, Workload

Version = Annotated[str, Field(pattern=r"^\d+(\.\d+){2}$")]


class ComparedEngine(Part):
    """An engine to measure: llama-cpp-python from the package index, or a wheel of your own."""

    version: Version | None = None
    """Version of llama-cpp-python, such as `0.3.35`, made of its sources on this machine: some
    minutes, once. Where the device has that very version it is taken as it is installed. Or"""
    wheel: LocalPath | None = None
    """a wheel of llama-cpp-python on this machine, built for the device. A relative path starts
    where Snakemake runs."""
    cmake_args: list[Annotated[str, Field(min_length=1, pattern=r"^\S+$")]] = Field(
        default_factory=list
    )
    """What a version is built with besides, such as `-DGGML_NATIVE=OFF`; then it is made in any
    case."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        one_of(self, "version", "wheel")
        if self.wheel and self.cmake_args:
            raise PydanticCustomError(
                "built", "a wheel is built already: cmake_args would change nothing", {}
            )
        return self


def _by_name(given: list[str] | dict[str, ComparedEngine]) -> dict[str, ComparedEngine]:
    """Versions in a list are called after themselves."""
    if not isinstance(given, list):
        return given
    return {version: ComparedEngine(version=version) for version in given}


def _several(engines: dict[str, ComparedEngine]) -> dict[str, ComparedEngine]:
    if len(engines) == 1:
        raise PydanticCustomError(
            "several", "one engine is held against nothing: name two at least, or leave it out", {}
        )
    return engines


if TYPE_CHECKING:
    Engines = dict[str, ComparedEngine]  # as it is once it was validated
else:
    Engines = Annotated[
        Annotated[list[Version], AfterValidator(unique), Tag("versions")]
        | Annotated[dict[Id, ComparedEngine], Tag("mapping")],
        Discriminator(lambda given: "versions" if isinstance(given, list) else "mapping"),
        AfterValidator(_by_name),
        AfterValidator(_several),
    ]


class EngineSettings(TypedDict):
    """What decides which engines a device is given."""

    device: SingleDevice
    engines: dict[str, ComparedEngine]


class ComparisonSettings(TypedDict):
    """What decides how they are compared on it: for conversations one by one."""

    device: SingleDevice
    runtime: Runtime
    workloads: dict[str, Workload]
    engines: Sequence[str]
    """By name; the others are held against the first."""
