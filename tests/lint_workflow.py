"""`snakemake --lint` for each config, as forks of one process that has imported Snakemake."""

import sys
from pathlib import Path

from support import ROOT, run_snakemake


def main(configs: list[str]) -> None:
    for config in configs:
        done = run_snakemake("--lint", "--configfile", config, cwd=ROOT, check=False)
        print(Path(config).name, done.stdout, sep=": ", end="", flush=True)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
