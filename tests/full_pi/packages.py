"""The packages of another architecture and system, by the workstation's apt."""

from pathlib import Path

from full_pi import recipe
from full_pi.tools import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Nothing of this machine's own packages: another architecture, and a list of what is there that
# begins empty.
APT_CONF = """\
Dir "{folder}";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc "{folder}/etc";
Dir::Etc::parts "/dev/null";
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
"""


def downloaded(folder: Path) -> list[Path]:
    """The packages of the recipe and what they need, verified by apt."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    sources = "".join(
        f"deb [signed-by={KEYRING}] {url} {suite} main\n" for url, suite in recipe.SOURCES.items()
    )
    (folder / "etc/sources.list").write_text(sources)
    (folder / "apt.conf").write_text(APT_CONF.format(folder=folder))
    install = ["install", "--download-only", *recipe.PACKAGES]
    for command in (["update"], ["autoclean"], install):  # what an earlier try left may be old
        run(["apt-get", "-q", "-y", *command], APT_CONFIG=str(folder / "apt.conf"))
    return sorted((folder / "cache/archives").glob("*.deb"))
