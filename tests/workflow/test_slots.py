"""One measurement or transfer at a time on each device; a benchmark on this machine alone.

The project's own functions for `resources:`, with jobs that write down when they begin and end.
"""

from pathlib import Path

import pytest
import yaml
from support import ROOT, run_snakemake

JOBS = f"""
include: "{ROOT}/rules/common.smk"


rule all:
    input:
        expand("done/{{device}}/{{at}}", device=study.devices, at=range(3)),


rule job:
    output:
        "done/{{device}}/{{at}}",
    resources:
        **SLOTS_OF_THE_TEST,
    shell:
        "echo begin {{wildcards.device}} >> told; sleep .3; echo end {{wildcards.device}} >> told;"
        "touch {{output}}"


take_slots(workflow.rules)
"""
PI = {"transport": "ssh", "store": "/mnt/nvme/llmpi"}


def told(workdir: Path, slots: str) -> tuple[list[set[str]], str]:
    """The devices that were busy, from one moment to the next, and what Snakemake said."""
    study = yaml.safe_load((workdir / "config/config.yaml").read_text())
    study["devices"] |= {name: {**PI, "host": f"{name}.local"} for name in ("a", "b-c")}
    (workdir / "config/three.yaml").write_text(yaml.safe_dump(study))
    (workdir / "Snakefile").write_text(JOBS.replace("SLOTS_OF_THE_TEST", slots))
    arguments = ("--configfile", "config/three.yaml", "--cores", "9")
    out = run_snakemake(*arguments, cwd=workdir).stdout
    busy: list[set[str]] = [set()]
    for line in (workdir / "told").read_text().splitlines():
        what, device = line.split()
        assert (device in busy[-1]) == (what == "end"), "two at once on one device"
        busy.append(busy[-1] ^ {device})
    assert len(busy) == 1 + 2 * 9
    return busy, out


def test_every_device_has_one_job_at_a_time(workdir: Path) -> None:
    _, out = told(workdir, "DEVICE_SLOTS")
    assert "Execute 3 jobs..." in out, "the devices go side by side"


def test_a_benchmark_here_has_all_devices_to_itself(workdir: Path) -> None:
    busy, out = told(workdir, "BENCHMARK_SLOTS")
    assert "Execute 2 jobs..." in out
    assert all(devices == {"workstation"} for devices in busy if "workstation" in devices)


def test_nothing_starts_where_the_slots_are_not_taken(workdir: Path) -> None:
    """Should Snakemake ever leave our `Slots` unasked, it is an error, not two jobs at once."""
    global_slots = JOBS.replace("take_slots(workflow.rules)", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("test_slots.JOBS", global_slots)
        with pytest.raises(AssertionError, match=r"device_slots"):
            told(workdir, "DEVICE_SLOTS")
    assert not (workdir / "told").exists()


@pytest.mark.parametrize("limit", [(), ("--max-jobs-per-timespan", "7/1s")])
def test_jobs_are_chosen_as_others_end(workdir: Path, limit: tuple[str, ...]) -> None:
    """Not each second, too, once for each of those that have ended; unless somebody limits them."""
    common = f'include: "{ROOT}/rules/common.smk"'
    hooks = JOBS.replace(common, f'{common}\ninclude: "{ROOT}/rules/terminal.smk"')
    jobs = hooks.replace("SLOTS_OF_THE_TEST", "DEVICE_SLOTS").replace("sleep .3", "sleep 1")
    (workdir / "Snakefile").write_text(jobs)
    arguments = ("--configfile", "config/config.yaml", "--cores", "9", "--verbose", *limit)
    out = run_snakemake(*arguments, cwd=workdir).stdout
    assert out.count("Finished jobid") == 4
    assert (out.count("Ready jobs: ") <= 4) == (not limit)
