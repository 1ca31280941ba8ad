"""A certificate that nobody trusts, for who listens behind TLS."""

import subprocess
from pathlib import Path

from support import needed


def self_signed(folder: Path, names: str) -> tuple[Path, Path]:
    """
    Args:
        names: whom it is for, as openssl has them: `IP:127.0.0.1`.

    Returns:
        The certificate, and its key.
    """
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=x", "-addext", f"subjectAltName={names}", "-days", "2")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run([needed("openssl"), *made, *subject, *files], check=True, capture_output=True)
    return certificate, key
