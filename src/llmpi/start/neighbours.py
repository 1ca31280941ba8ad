"""The names of machines in the local network that tell them by mDNS (RFC 6762), to choose a board
from; where the library for that is there: `pip install zeroconf`.
"""

import re
import time

SERVICES = (
    *("_ssh._tcp.local.", "_sftp-ssh._tcp.local.", "_udisks-ssh._tcp.local."),
    "_workstation._tcp.local.",
)
"""What a machine's avahi tells of it; many a board tells nothing and answers to its name alone."""
NEW = "raspberrypi.local"
"""A board to which nobody gave a name."""
LISTEN_S = 2.0
ASK_MS = 500
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.local")
"""A host's; anybody in the network may tell anything."""
MOST = 20


def neighbours(listen_s: float = LISTEN_S) -> list[str]:
    """Those that are heard in so many seconds; none without the library, or without a network."""
    try:
        from zeroconf import (  # type: ignore[attr-defined]  # the first is in its documents
            AddressResolverIPv4,
            IPVersion,
            ServiceBrowser,
            Zeroconf,
        )
    except ImportError:
        return []
    told = set[tuple[str, str]]()  # type and name of a service; filled by a thread of the library

    def note(*, service_type: str, name: str, **_: object) -> None:
        if len(told) < MOST:
            told.add((service_type, name))

    until = time.monotonic() + listen_s
    try:
        with Zeroconf(ip_version=IPVersion.V4Only) as network:
            ServiceBrowser(network, list(SERVICES), handlers=[note])
            is_new = AddressResolverIPv4(f"{NEW}.").request(network, listen_s * 1000)
            time.sleep(max(0, until - time.monotonic()))
            found = [network.get_service_info(*service, timeout=ASK_MS) for service in sorted(told)]
    except OSError:
        return []
    names = [one.server.rstrip(".").lower() for one in found if one and one.server]
    return sorted({name for name in names if NAME.fullmatch(name)} | ({NEW} if is_new else set()))
