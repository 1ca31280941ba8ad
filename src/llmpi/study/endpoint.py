"""An engine that is not llmpi's, behind an address: a runtime of the kind `endpoint`."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from llmpi.study.fields import Id, Part, Quant

Api = Literal["completions", "chat", "ollama"]
Told = Annotated[str, Field(min_length=1, max_length=200)]


class Serves(Part):
    """A variant that an endpoint is said to serve. An endpoint tells little of it, and nothing that
    could be checked by its hash: what stands here is shown as claimed."""

    model: Id
    """Id of the model, and"""
    quant: Quant
    """its quantization, beside whose other cells this one stands."""
    name: Told
    """What the endpoint calls it: the `model` of a request."""
    file: Told | None = None
    """The file that it serves, such as `Q4_0 of this study` or `llama3.2:1b of ollama.com`."""
    type: Told | None = None
    """How its weights are stored, where it is not the quantization's type: `w8a8`."""
    template: Told | None = None
    """Which chat template it uses."""


def _plain(value: str) -> str:
    if "@" in value.split("/")[2]:
        raise PydanticCustomError(
            "login",
            "an address holds no user and no password: a config is shown to others; put the key "
            "into an environment variable, and name that: key_variable",
            {},
        )
    if "?" in value or "#" in value:
        raise PydanticCustomError(
            "query",
            "an address ends with its path, and what is asked there is not the config's: leave out "
            "what begins with ? or #; a key goes into an environment variable: key_variable",
            {},
        )
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and parts.port != 0 and parts.path.isascii()
    except ValueError:  # of brackets without an end, or a port that is none
        sound = False
    if not sound:
        raise PydanticCustomError(
            "address",
            "this is no address of a server, such as http://127.0.0.1:8080/v1: it names a host, a "
            "port up to 65535 if it is another one, and a path in ASCII",
            {},
        )
    return value


Address = Annotated[str, Field(pattern=r"^https?://[^\s\x00-\x1f\x7f]+$"), AfterValidator(_plain)]


def _differ(served: list[Serves]) -> list[Serves]:
    named = [(one.model, one.quant) for one in served]
    if twice := [one for one in named if named.count(one) > 1]:
        model, quant = twice[0]
        raise PydanticCustomError(
            "duplicate", "{model} {quant} stands here twice", {"model": model, "quant": quant}
        )
    return served


class Endpoint(Part):
    """A server that runs its own engine: llama-server, Ollama, ik_llama.cpp, an accelerator's.

    It is asked from the device itself, over HTTP, and has no cells but of the variants that it
    serves and of workloads of one conversation. They are marked, and never ranked."""

    url: Address
    """Its address as seen from the device, such as `http://127.0.0.1:8080/v1` or, of Ollama,
    `http://127.0.0.1:11434`."""
    api: Api = "completions"
    """`completions`: OpenAI's, plain text to go on with. `chat`: OpenAI's, where there is no other;
    the template's tokens count as the prompt's. `ollama`: its own, which tells what it counts."""
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None = None
    """The environment variable that holds its key, where the client runs: here for a local device,
    on the board for one behind SSH (`/etc/environment`). The key itself stands nowhere."""
    serves: Annotated[list[Serves], AfterValidator(_differ)] = Field(min_length=1)
    """The variants that it serves."""

    def served(self, model: str, quant: str) -> Serves | None:
        """What it is said to have of a variant."""
        return next((s for s in self.serves if (s.model, s.quant) == (model, quant)), None)
