"""The service on a device: which variant is served, how, and how a new release is rolled out."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StrictFloat,
    StrictInt,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llmpi.study.fields import Bytes, Id, KeyPath, Part, Quant, unique

MEMORY_SHARE = 0.8
"""Of a device's memory, what a service may take by default."""


class ServedVariant(Part):
    """A variant by name."""

    model: Id
    """Id of a model."""
    quant: Quant
    """Quantization."""
    runtime: Id = "default"
    """Id of a runtime."""


Served = Annotated[
    Annotated[Literal["recommended"], Tag("name")] | Annotated[ServedVariant, Tag("variant")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "variant"),
]


def _stage(value: float) -> float:
    if isinstance(value, float) and value > 1:
        raise PydanticCustomError("stage", "a share is at most 1.0", {})
    return value


Stage = Annotated[
    Annotated[StrictInt, Field(ge=1)] | Annotated[StrictFloat, Field(gt=0)],
    AfterValidator(_stage),
]


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise PydanticCustomError(
            "address", "'{value}' is no IP address, such as 127.0.0.1 or 0.0.0.0", {"value": value}
        ) from None


class Service(Part):
    """A variant behind an OpenAI-compatible API, on devices behind SSH: `llmpi service install`."""

    variant: Served = "recommended"
    """`recommended`: for each device what the report recommends on it (section `constraints`). Or
    `{model: ID, quant: TYPE, runtime: ID}`."""
    devices: Annotated[list[Id], AfterValidator(unique)] = Field(default_factory=list)
    """Devices, and groups of them, that it is rolled out to, in this order; by default all behind
    SSH."""
    stages: list[Stage] = Field(default_factory=lambda: [1, 0.25, 1.0], min_length=1)
    """How many devices have a new release at the end of each stage: a whole number counts them, a
    number with a point is a share (`1` is one, `1.0` all). The last must be `1.0`."""
    host: Annotated[str, AfterValidator(_address)] = "127.0.0.1"
    """Address it listens on. Another than loopback needs a `key_file`, and should stand behind a
    reverse proxy with TLS."""
    port: int = Field(default=8080, ge=1024, le=65535)
    """Port it listens on."""
    key_file: KeyPath | None = None
    """File on this machine with the API keys, a line each, of which every request must bring one.
    Behind each but the first may stand how many requests a minute it may ask: `KEY 30`. The first
    is also the canary's."""
    context_tokens: int = Field(default=2048, ge=64, le=1_000_000)
    """Prompt and answer of a request have room for so many tokens, and for no more than the model
    was trained on."""
    slots: int = Field(default=1, ge=1, le=64)
    """Requests that are answered side by side, each in a context of its own. More together are
    faster than one after the other, and each is slower than it was measured alone."""
    prefix_cache: Bytes | None = None
    """Memory for conversations beside those in the slots, such as `256M`: what they have in common
    with the next request need not be computed again. By default none but the slots' last ones are
    kept. All are forgotten when the service is started anew."""
    waiting: int = Field(default=16, ge=0, le=1000)
    """Requests that wait while all slots are taken; further ones are told to come back (503)."""
    answer_s: int = Field(default=600, ge=1, le=86_400)
    """Seconds an answer may take once its turn has come; then it is broken off."""
    memory_limit: Bytes | None = None
    """Memory the service may take, such as `3G`; beyond it the kernel ends it, and it is started
    anew. By default 80 % of the device's."""
    drain_s: int = Field(default=300, ge=1, le=3600)
    """Seconds that a service that is stopped has to answer the requests it took in."""
    canary_timeout_s: float = Field(default=300, gt=0, le=3600)
    """Seconds a request of the canary may take."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not ipaddress.ip_address(self.host).is_loopback and not self.key_file:
            raise PydanticCustomError(
                "needs_key",
                "host {host} can be reached from elsewhere: name a key_file",
                {"host": self.host},
            )
        if self.prefix_cache and self.memory_limit and self.prefix_cache >= self.memory_limit:
            raise PydanticCustomError(
                "memory",
                "a prefix_cache of {cache} bytes leaves nothing of the memory_limit of {limit} "
                "to the model: the limit is for both",
                {"cache": self.prefix_cache, "limit": self.memory_limit},
            )
        last = self.stages[-1]
        if not isinstance(last, float) or last < 1:
            raise PydanticCustomError(
                "stage", "the last stage must be 1.0, which is every device", {}
            )
        return self
