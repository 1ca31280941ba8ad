"""The validated study and functions, no rules. Runs at every parse, in every job; keep it light."""

import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.resources import Resources

from llmpi import layout
from llmpi.code import sha256_of_code
from llmpi.engine.shown import shown
from llmpi.engine.version import engine_version
from llmpi.errors import LlmpiError
from llmpi.quant_types import RATED_WITH, is_mix, is_published, is_rounded, is_trained
from llmpi.sources_lock import read_lock
from llmpi.study import inputs, settings
from llmpi.study.fields import RESULTS
from llmpi.study.file import parse_study
from llmpi.study.models import HubSource, PathSource, PypiSource, checkpoint_of
from llmpi.study.quality import KINDS
from llmpi.study.runs import Scored, Session, made, scored, sessions
from llmpi.user import user_name

# Snakemake asks who runs it, and breaks where nobody knows.
os.environ.setdefault("LOGNAME", user_name())

# Text is UTF-8, whatever the locale, in what the jobs start, too.
os.environ |= {"PYTHONUTF8": "1"}

# Each job would look through all packages for plugins of pydantic: there are none of ours.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

# Where the project is: workflow.basedir is another workflow's, where ours is a module of it.
PROJECT = Path(str(workflow.current_basedir)).parent

# Where envs/workstation.post-deploy.sh finds it, of which Snakemake runs a copy.
os.environ |= {"LLMPI_PROJECT": str(PROJECT)}

CONFIG_FILES = [Path(f) for f in workflow.configfiles]
SOURCES_LOCK = (CONFIG_FILES[0].parent if CONFIG_FILES else Path("config")) / layout.SOURCES_LOCK

try:
    study = parse_study(config, CONFIG_FILES)
    read_lock(SOURCES_LOCK)  # read again where it decides; what is none is told here, once
except LlmpiError as error:
    print(shown(f"llmpi: the config has errors:\n{error}"), file=sys.stderr)
    sys.exit(1)

# Longest first: where a wildcard ends a name, Q4_0 must not match the beginning of Q4_0-qat.
QUANTS = sorted({v.quant for v in made(study)} | {layout.BASE_QUANT}, key=len, reverse=True)

# Those that the quantizer makes, of the base.
QUANTIZED = [
    q
    for q in QUANTS
    if q != layout.BASE_QUANT and not (is_rounded(q) or is_trained(q) or is_published(q))
]


def any_of(names):
    """What a wildcard with these values must match."""
    return "|".join(map(re.escape, names)) or "none"


wildcard_constraints:
    study=re.escape(study.study),
    model=any_of(study.models),
    device=any_of(study.devices),
    runtime=any_of(study.runtimes),
    quant=any_of(QUANTS),
    computation=any_of({one.computation for one in scored(study)}),
    language=any_of(study.languages),


# The engine of this environment, for all that runs it; another one is another result.
ENGINE = engine_version()


def project(path):
    """A file of the project, relative to where Snakemake runs: a moved clone reruns nothing."""
    return os.path.relpath(PROJECT / path)


@cache
def code(script, *modules):
    """The hash of the code behind a step: Snakemake sees no edit of an imported module.

    It says what it is, for whoever reads why a job runs again.

    Args:
        modules: what it is told to start beside what it names itself.
    """
    entries = (PROJECT / f"workflow/scripts/{script}.py", *modules)
    return f"code of {script}: {sha256_of_code(*entries, package=PROJECT / 'src/llmpi')}"


def fetched_by(wildcards):
    """The modules for a model's source and its checkpoint's, on whose code it depends alone."""
    source = study.models[wildcards.model].source
    kinds = {PypiSource: "pypi", HubSource: "hub", PathSource: "local"}
    asked = (source, checkpoint_of(source))
    return [f"llmpi.models.{kinds[type(one)]}" for one in asked if one is not None]


def measured_by(wildcards):
    """The module that measures a session, on whose code it depends and not on the other's."""
    endpoint = study.runtimes[wildcards.runtime].endpoint
    return f"llmpi.device.measure.{'over_http' if endpoint else 'process'}"


def session_of(wildcards):
    return Session(*(wildcards[key] for key in Session._fields))


def scored_of(wildcards):
    return Scored(*(wildcards[key] for key in Scored._fields))


def slot(device):
    """Name of the resource that stands for a device."""
    name = re.sub(r"\W", "_", device)
    return f"device_{name}"


# One measurement or transfer at a time on each device. A resource without a limit is ignored, so
# that a bare `--cores 4` must find one.
for device in study.devices:
    workflow.global_resources.setdefault(slot(device), 1)

# The key under `resources:` whose value names the slots that a job takes. Its limit refuses a text:
# should Snakemake ever not ask `Slots`, nothing starts.
SLOTS = "device_slots"
workflow.global_resources.setdefault(SLOTS, 1)


class Slots(Resources):
    """`resources:` of a rule whose jobs take the slots of their own devices.

    Snakemake asks every job for all resources of its rule: with one for each device, jobs times
    devices.
    """

    def expand_items(self, *, constraints, **how):
        others = {name: limit for name, limit in constraints.items() if name != SLOTS}
        for name, value in super().expand_items(constraints=others, **how):
            if name == SLOTS:
                yield from dict.fromkeys(value.split(), 1).items()
            else:
                yield name, value


def take_slots(rules):
    """Have the rules that name slots take them."""
    for one in rules:
        if SLOTS in one.resources:
            one.resources = Slots(dict(one.resources))


def choose_as_jobs_end(scheduler):
    """Have Snakemake look for what can begin when a job has ended, and at no other time.

    By its default limit of 100 begun jobs a second it looks again a second after each look while
    any job waits, and each job that ends adds such a chain of looks: after some hundred jobs they
    take a processor, and disturb what is measured beside them. Another limit is somebody's wish.
    """
    limit = scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        scheduler.job_rate_limiter = None


# `resources:` where there is a {device} wildcard: the slot of that device is taken.
DEVICE_SLOTS = {SLOTS: lambda wildcards: slot(wildcards.device)}

# For a benchmark. One on this machine takes the slots of all: nothing is sent meanwhile.
BENCHMARK_SLOTS = {
    SLOTS: lambda wildcards: " ".join(
        map(slot, study.devices)
        if settings.is_here(study, wildcards.device)
        else [slot(wildcards.device)]
    )
}


def device_threads(wildcards):
    """A benchmark on this machine has the machine to itself; a remote one only waits.

    Threads are not counted where other machines compute: see BENCHMARK_SLOTS.
    """
    return workflow.cores if settings.is_here(study, wildcards.device) else 1


def engine_there(wildcards):
    """The engine a device measures with, where it is this machine's; another's receipt says it."""
    return ENGINE if settings.is_here(study, wildcards.device) else {}
