"""Smart plugs, read over HTTP: what each answers, who it lets in, and what is wrong with it."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, NotRequired
from urllib.parse import quote, urlencode

from pydantic import FiniteFloat
from typing_extensions import TypedDict

from llmpi.device.machine.energy import JOULES_PER_WH
from llmpi.device.machine.metering import MeterError
from llmpi.device.machine.meters import plausible
from llmpi.errors import LlmpiError
from llmpi.records import RecordError, check
from llmpi.study.meters import Plug, ShellyMeter, TasmotaMeter

if TYPE_CHECKING:
    import httpx2  # loaded where there is a plug: few measurements have one

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log every address, passwords too

ANSWER_S = 5.0
MOST_BYTES = 100_000
USER = "admin"


class Counter(NamedTuple):
    """A reading of an energy counter, and how much its last digit stands for."""

    joules: float
    resolution_j: float


Reading = tuple[float, Counter | None]
ReadPlug = Callable[[], Reading]
"""Power in W and the energy counter; None where it has none. Raises LlmpiError."""


def open_plug(meter: Plug) -> ReadPlug:
    """What reads it.

    Raises:
        LlmpiError: its password cannot be read.
    """
    user, password = meter.user or USER, _password(meter)
    if isinstance(meter, TasmotaMeter):
        return _Checked(_Tasmota(meter, user, password))
    assert isinstance(meter, ShellyMeter)
    return _Checked(_Shelly(meter, user, password))


def _password(meter: Plug) -> str | None:
    if meter.password_file is None:
        return None
    try:
        text = Path(meter.password_file).read_text(encoding="utf-8")
    except OSError as error:
        raise LlmpiError(f"password_file of {meter.url}: {error.strerror}") from None
    except ValueError:
        raise LlmpiError(f"password_file of {meter.url}: it holds no text") from None
    return text.split("\n")[0].rstrip("\r")


class _Checked:
    """Reads what a plug reads, if that can be."""

    def __init__(self, plug: "_Tasmota | _Shelly") -> None:
        self._plug = plug

    def __call__(self) -> Reading:
        power_w, counter = self._plug()
        try:
            plausible(power_w, counter and counter.joules)
        except MeterError as error:
            raise LlmpiError(f"{self._plug.url}: {error}") from None
        return power_w, counter


# --- Tasmota --------------------------------------------------------------------------------------


class TasmotaReading(TypedDict):
    """`StatusSNS.ENERGY`; of a plug with several channels a list of each."""

    Power: FiniteFloat | list[FiniteFloat]
    """W."""
    Total: NotRequired[FiniteFloat | list[FiniteFloat] | None]
    """kWh."""


class TasmotaSensors(TypedDict):
    """`StatusSNS`."""

    ENERGY: TasmotaReading


class TasmotaStatus(TypedDict):
    """What Tasmota answers to `Status 10`, as far as it is needed."""

    StatusSNS: TasmotaSensors


class _Tasmota:
    """https://tasmota.github.io/docs/Commands/#with-web-requests"""

    def __init__(self, meter: TasmotaMeter, user: str, password: str | None) -> None:
        self.url, self._channel = meter.url.rstrip("/"), meter.channel
        self._has_password = password is not None
        asked = {"cmnd": "Status 10"}
        if password is not None:
            asked = {"user": user, "password": password, **asked}
        self._asked = f"{self.url}/cm?{urlencode(asked, quote_via=quote)}"

    def __call__(self) -> Reading:
        status, said = _get(self.url, self._asked, None)
        if status == 401 or b"Need user=" in said:
            raise _not_let_in(self.url, asked=self._has_password)
        energy = check(_found(self.url, status, said), TasmotaStatus, self.url)["StatusSNS"][
            "ENERGY"
        ]
        power, total = energy["Power"], energy.get("Total")
        if not isinstance(power, list):
            total = total[0] if isinstance(total, list) and len(total) == 1 else total
            return power, _counter(None if isinstance(total, list) else total, 1000 * JOULES_PER_WH)
        if self._channel is None or self._channel > len(power):
            raise LlmpiError(
                f"{self.url} has {len(power)} channels: name one, such as 'channel: 1'"
            )
        at = self._channel - 1
        # One total for several channels is no counter of this one.
        own = total[at] if isinstance(total, list) and at < len(total) else None
        return power[at], _counter(own, 1000 * JOULES_PER_WH)


# --- Shelly ---------------------------------------------------------------------------------------


class ShellyEnergy(TypedDict):
    """`aenergy`."""

    total: NotRequired[FiniteFloat | None]
    """Wh."""


class ShellyStatus(TypedDict):
    """What a Shelly answers to `Switch.GetStatus` and `PM1.GetStatus`, as far as it is needed."""

    apower: FiniteFloat
    """W."""
    aenergy: NotRequired[ShellyEnergy]


class ShellyFirst(TypedDict):
    """What one of the first generation answers to `/meter/N`, as far as it is needed."""

    power: FiniteFloat
    """W."""
    is_valid: NotRequired[bool]
    total: NotRequired[FiniteFloat | None]
    """Watt-minutes."""


class ShellyAbout(TypedDict):
    """What every Shelly answers to `/shelly`, as far as it is needed."""

    gen: NotRequired[int]
    """Not of the first generation."""
    type: NotRequired[str]


Asks = Literal["meter", "Switch", "PM1"]
"""Which part of it is asked: the first generation's, or those of later ones that have `apower`."""


class _Shelly:
    """https://shelly-api-docs.shelly.cloud"""

    def __init__(self, meter: ShellyMeter, user: str, password: str | None) -> None:
        import httpx2

        self.url, self._number = meter.url.rstrip("/"), meter.switch
        self._basic = httpx2.BasicAuth(user, password) if password else None
        # Kept: it answers the next challenge before that comes.
        self._digest = httpx2.DigestAuth(user, password) if password else None
        self._asks: Asks | None = None

    def __call__(self) -> Reading:
        if self._asks is None:
            self._asks = self._generation()
        if self._asks == "meter":
            said = check(self._get(f"meter/{self._number}"), ShellyFirst, self.url)
            if not said.get("is_valid", True):
                raise LlmpiError(f"{self.url} says that its reading is not valid")
            return said["power"], _counter(said.get("total"), 60.0)
        asked = f"rpc/{self._asks}.GetStatus?id={self._number}"
        status = check(self._get(asked), ShellyStatus, self.url)
        energy_wh = status["aenergy"].get("total") if "aenergy" in status else None
        return status["apower"], _counter(energy_wh, JOULES_PER_WH)

    def _generation(self) -> Asks:
        status, said = _get(self.url, f"{self.url}/shelly", None)
        try:
            about = check(said, ShellyAbout, self.url) if status == 200 else {}
        except RecordError:
            about = {}
        if "type" in about and "gen" not in about:
            return "meter"
        components: tuple[Asks, ...] = ("Switch", "PM1")
        for component in components:
            asked = f"{self.url}/rpc/{component}.GetStatus?id={self._number}"
            if _get(self.url, asked, self._digest)[0] != 404:
                return component
        raise LlmpiError(f"{self.url} has neither a switch nor a power meter that llmpi knows")

    def _get(self, path: str) -> bytes:
        auth = self._basic if self._asks == "meter" else self._digest
        status, said = _get(self.url, f"{self.url}/{path}", auth)
        if status == 401:
            raise _not_let_in(self.url, asked=auth is not None)
        if status in (404, 500):
            raise LlmpiError(f"{self.url} has no switch {self._number}: {said[:80]!r}")
        return _found(self.url, status, said)


# --- both -----------------------------------------------------------------------------------------


def _not_let_in(url: str, *, asked: bool) -> LlmpiError:
    if asked:
        return LlmpiError(f"{url} refuses this user and password: see 'user', 'password_file'")
    return LlmpiError(f"{url}: it asks for a user and password: 'user:', 'password_file:'")


def _found(url: str, status: int, said: bytes) -> bytes:
    if status != 200:
        raise LlmpiError(f"{url} answers with status {status}: {said[:80]!r}")
    return said


def _counter(reading: float | None, unit_j: float) -> Counter | None:
    if reading is None:
        return None
    decimals = len(repr(reading).removesuffix(".0").partition(".")[2])
    return Counter(reading * unit_j, unit_j / 10**decimals)


def _get(url: str, asked: str, auth: "httpx2.Auth | None") -> tuple[int, bytes]:
    """Status and content of an answer, all of which is there within `ANSWER_S`.

    Args:
        url: of the plug, for errors: what is asked may hold a password.

    Raises:
        LlmpiError: it does not answer.
    """
    import httpx2

    try:
        return asyncio.run(_fetched(asked, auth))
    except TimeoutError:
        raise LlmpiError(f"{url}: no answer within {ANSWER_S:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        raise LlmpiError(f"{url}: {type(error).__name__}: {error}") from None


async def _fetched(asked: str, auth: "httpx2.Auth | None") -> tuple[int, bytes]:
    import httpx2

    # No proxy: a plug is in the same network.
    async with (
        asyncio.timeout(ANSWER_S),
        httpx2.AsyncClient(trust_env=False, auth=auth, timeout=ANSWER_S) as client,
        client.stream("GET", asked, headers={"Accept-Encoding": "identity"}) as response,
    ):
        content = b""
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > MOST_BYTES:
                raise ValueError("its answer has no end")
        return response.status_code, content
