"""What a page may do."""

import base64
import hashlib
from collections.abc import Sequence


def policy(scripts: Sequence[str]) -> str:
    """Its Content-Security-Policy: nothing is loaded, and no script runs but these. Vega styles
    single marks by attributes."""
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; script-src {allowed}; "
        "style-src 'unsafe-inline'"
    )
