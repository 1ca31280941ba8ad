"""What a device's monitor is installed with: its config and its systemd unit."""

import re
from pathlib import PurePosixPath
from typing import Any

from llmpi.device.machine.meters import ON_DEVICE
from llmpi.errors import LlmpiError
from llmpi.records import Record

LISTEN = "127.0.0.1:9711"

UNIT = """\
[Unit]
Description=llmpi monitor: metrics and canary of a language model's service
After=network.target {service}

[Service]
{user}ExecStart={llmpi_device} monitor --config {config}
Restart=on-failure
RestartSec=10
# It must never take a core from the engine.
Nice=19
MemoryMax=256M
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
LockPersonality=yes
RestrictRealtime=yes

[Install]
WantedBy={wanted_by}
"""


def monitor_config(
    expected: Record,
    *,
    release: str,
    url: str,
    store: str,
    expect_file: str,
    key_file: str | None = None,
    meter: dict[str, Any] | None = None,
    canary_interval_s: float = 3600,
    listen: str = LISTEN,
) -> Record:
    """The config of `llmpi-device monitor`.

    Args:
        expected: of `llmpi.operate.expectation`.
        release: id of what is served.
        url: address of the service, on the device.
        store, expect_file, key_file: paths on the device.
        meter: of the device in the study; one that is not read on the device gives no power here.
    """
    canary = {
        "url": url,
        "expect": expect_file,
        "interval_s": canary_interval_s,
        "key_file": key_file,
    }
    return {
        **{key: expected[key] for key in ("device", "model", "quant")},
        "release": release,
        "store": store,
        "canary": canary,
        "listen": listen,
        "meter": meter if meter and meter["kind"] in ON_DEVICE else None,
    }


def monitor_unit(
    *,
    llmpi_device: str,
    config: str,
    service: str = "",
    user: str | None = None,
    wanted_by: str = "default.target",
) -> str:
    """The text of a systemd unit.

    Args:
        llmpi_device: path of the program on the device.
        config: path of the monitor's config there.
        service: unit of the service that it looks after.
        user: it runs as, where the unit is the system's.
        wanted_by: `default.target` for a user's unit, `multi-user.target` for the system's.

    Raises:
        LlmpiError: a path is not absolute, or systemd would read more than a path in it.
    """
    for path in (llmpi_device, config):
        if not PurePosixPath(path).is_absolute() or not re.fullmatch(r"[\w./@:+-]+", path):
            raise LlmpiError(
                f"{path!r} cannot stand in a systemd unit: it must be absolute, of letters, digits "
                "and ./@:+-_"
            )
    return UNIT.format(
        llmpi_device=llmpi_device,
        config=config,
        service=service,
        user=f"User={user}\n" if user else "",
        wanted_by=wanted_by,
    )
