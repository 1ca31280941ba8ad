"""The systemd units of the service and its monitor. What each setting does: systemd.exec(5)."""

import re
from ipaddress import ip_address

from llmpi.errors import LlmpiError
from llmpi.study.service import MEMORY_SHARE

SERVICE, SOCKET = "llmpi-serve.service", "llmpi-serve.socket"
MONITOR = "llmpi-monitor.service"
START_S = 900
"""Loading a model from a slow card takes minutes."""

SOCKET_UNIT = """\
[Unit]
Description=Where the language model of llmpi is reached

[Socket]
# systemd holds the socket: who connects while no process serves waits, and is not refused.
ListenStream={address}
Backlog=512

[Install]
WantedBy=sockets.target
"""

SERVICE_UNIT = """\
[Unit]
Description=A language model of llmpi behind an OpenAI-compatible API
Requires={socket}
After={socket}
StartLimitIntervalSec=600
StartLimitBurst=10

[Service]
Type=notify
ExecStart={current}/runtime/bin/llmpi-device serve --release {current}
User={user}
WorkingDirectory={service}
Restart=always
RestartSec=2
TimeoutStartSec={start_s}
# The requests it took in are answered before it stops.
KillMode=mixed
TimeoutStopSec={stop_s}
{credential}
MemoryMax={memory}
MemorySwapMax=0
LimitCORE=0
# Who asks, who waits, and who says nothing.
LimitNOFILE=8192

# It reads its own folder, answers on the socket it is given, and can do nothing else.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=tmpfs
BindReadOnlyPaths={service}
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
KeyringMode=private
UMask=0077
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
Environment=PYTHONDONTWRITEBYTECODE=1

[Install]
WantedBy=multi-user.target
"""

MONITOR_UNIT = """\
[Unit]
Description=llmpi monitor: metrics and canary of a language model's service
After=network.target {service}

[Service]
User={user}
ExecStart={current}/runtime/bin/llmpi-device monitor --config {current}/monitor.json
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
WantedBy=multi-user.target
"""


def units(
    *,
    store: str,
    user: str,
    host: str,
    port: int,
    key: bool,
    memory_limit: int | None,
    drain_s: int,
) -> dict[str, str]:
    """The unit files of the service and its monitor, by name.

    Args:
        store: llmpi's folder on the device.
        user: the service runs as; it owns the store.
        key: whether requests must bring one of the keys that lie at `keys_path`.
        memory_limit: bytes; None for 80 % of the device's.

    Raises:
        LlmpiError: the store's path holds what unit files would read as something else.
    """
    if not re.fullmatch(r"/[A-Za-z0-9._/+@-]+", store):
        raise LlmpiError(
            f"the service needs a store whose path has only letters, digits and ._+@-/, not "
            f"{store!r}; name another 'store' for the device"
        )
    service = f"{store}/service"
    address = f"[{host}]:{port}" if ip_address(host).version == 6 else f"{host}:{port}"
    return {
        SOCKET: SOCKET_UNIT.format(address=address),
        SERVICE: SERVICE_UNIT.format(
            socket=SOCKET,
            service=service,
            current=f"{service}/current",
            user=user,
            start_s=START_S,
            stop_s=drain_s + 10,
            credential=(
                f"LoadCredential=key:{key_path(store)}\nLoadCredential=keys:{keys_path(store)}"
                if key
                else "# No key is asked for."
            ),
            memory=memory_limit or f"{MEMORY_SHARE:.0%}",
        ),
        MONITOR: MONITOR_UNIT.format(service=SERVICE, current=f"{service}/current", user=user),
    }


def key_path(store: str) -> str:
    """Where the API key that the canary asks by lies on the device, for its user alone."""
    return f"{store}/service/key"


def keys_path(store: str) -> str:
    """Where all of them lie, with their rates, likewise."""
    return f"{store}/service/keys"
