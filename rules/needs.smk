"""Functions for `resources:`: what the jobs that compute need, by model and task. No rules."""

import json
from functools import cache
from pathlib import Path

from llmpi import needs
from llmpi.device.machine import capacity

# A question's share of its passage, the question, the frame of the chat.
QUESTION_TOKENS = 150
# English has a token for four bytes or so, other texts for fewer.
TOKEN_BYTES = 3
# The harness's tasks say nothing beforehand.
HARNESS_MINUTES = 24 * 60


# A cluster's executor knows the machines that jobs are handed to, and they are not known here.
ON_A_CLUSTER = workflow.global_resources["_nodes"].value is not None or workflow.remote_exec

# What jobs share that run here at the same time. One that needs more than there is runs alone:
# Snakemake holds what a job asks for to the limit. `--resources mem_mb=...` is another one.
if not ON_A_CLUSTER:
    workflow.global_resources.setdefault("processors", capacity.processors())
    if (free := capacity.memory_bytes()) is not None:
        # By a limit of 0 every job would be held to 0, and all would run at once.
        workflow.global_resources.setdefault("mem_mb", max(1, free // needs.MB))

# Of a job that computes; Snakemake holds it to --cores.
THREADS = 4 if ON_A_CLUSTER else capacity.processors()


def processors(wildcards, threads):
    """`--cores` may be more than there are, for jobs that wait for devices."""
    return threads


def scoring(tokens, manifest="manifest", text_mb=0):
    """`resources:` of a job that puts `tokens(wildcards, input)` through the model of a manifest.

    Args:
        text_mb: what takes all logits of a text, not just those of the next tokens.

    Where the files are not there yet, Snakemake notes "TBD" and asks again.
    """

    def made(input):
        return json.loads(Path(input[manifest]).read_text())

    def mem_mb(wildcards, input):
        found, task = made(input), study.quality.get(wildcards.get("task"))
        return needs.scoring_mb(
            found.get("bytes", 0),
            found.get("parameters", 0),
            context_tokens=getattr(task, "context_tokens", 0),
            repacked=found.get("main_type") not in needs.NEVER_REPACKED,
            text_mb=text_mb,
        )

    def runtime(wildcards, input):
        return needs.scoring_minutes(made(input).get("parameters", 0), tokens(wildcards, input))

    return {"mem_mb": mem_mb, "runtime": runtime, "processors": processors}


def question_tokens(wildcards, input):
    """Of the questions that one job asks."""
    task = study.quality[wildcards.task]
    each = QUESTION_TOKENS + task.max_new_tokens
    return each * _questions(input.questions) / task.shards


@cache
def _questions(path):
    return json.loads(Path(path).read_text())["questions"]


def prompt_tokens(wildcards, input):
    """Of the user's own prompts."""
    task = study.quality[wildcards.task]
    lines = Path(input.prompts).read_text().count("\n")
    return (QUESTION_TOKENS + task.max_new_tokens) * (lines + 1)


def text_tokens(wildcards, input):
    """Of a text, or of so many windows of it."""
    task = study.quality[wildcards.task]
    whole = Path(input.corpus).stat().st_size / TOKEN_BYTES
    return min(whole, task.window_tokens * task.chunks) if task.chunks else whole


def reference_tokens(wildcards, input):
    """Of the windows that the reference was scored on."""
    reference = json.loads(Path(input.reference).read_text())
    return reference.get("chunks", 0) * reference.get("window_tokens", 0)


def calibration_tokens(wildcards, input):
    return Path(input.corpus).stat().st_size / TOKEN_BYTES


def file_bytes(file):
    """Function of a rule's input: the size of that file."""
    return lambda input: Path(input[file]).stat().st_size


def fetched_bytes(input):
    """Size of what is converted of what was fetched of a model: of several files the first, or the
    checkpoint beside them."""
    found = json.loads(Path(input.model).read_text())
    files, ggufs = found.get("files") or {}, found.get("ggufs")
    wanted = ggufs[0]["files"] if ggufs else files
    if found.get("checkpoint"):
        wanted = [name for name in files if not name.endswith(".gguf")]
    return sum(files[name]["bytes"] for name in wanted)


def quantizing(size, mem_mb):
    """`resources:` of a job that reads a model of `size(input)` bytes and writes another one."""
    return {
        "mem_mb": lambda wildcards, input: mem_mb(size(input)),
        "runtime": lambda wildcards, input: needs.quantizing_minutes(size(input)),
        "processors": processors,
    }


def mix_tokens(wildcards, input):
    return needs.MIX_PROBES * settings.mixing(study)["windows"] * needs.MIX_WINDOW_TOKENS


def searching():
    """`resources:` of the search of a mix: text through the unquantized model, and weights that are
    quantized for it."""
    scores = scoring(mix_tokens, "base_manifest", text_mb=needs.SCORED_TEXT_MB)

    def mem_mb(wildcards, input):
        return scores["mem_mb"](wildcards, input) + needs.QUANTIZED_AT_ONCE_MB

    return {**scores, "mem_mb": mem_mb}


def trained(whole, by_block):
    """A function of what a training needs: `whole(f16_bytes, tokens, spec)`, or `by_block` of the
    same where that is chosen. Of a cluster's machine nobody knows what is free: the whole is asked
    for there, unless the settings ask for blocks."""

    def needed(wildcards, input):
        spec, size = settings.training(study, wildcards.model), file_bytes("base")(input)
        tokens = spec["steps"] * spec["sequences"] * spec["sequence_tokens"]
        free = None if ON_A_CLUSTER else capacity.memory_bytes()
        chosen = needs.trains_by_block(
            size, distill=spec["distill"], asked=spec["by_block"], free_bytes=free
        )
        return (by_block if chosen else whole)(size, tokens, spec)

    return needed


# `resources:` of a job that trains, of a model of two bytes a parameter. A graphics card is asked
# for where the cluster is described: profiles/slurm.
TRAINING = {
    "mem_mb": trained(
        lambda size, tokens, spec: needs.training_mb(size, spec["distill"]),
        lambda size, tokens, spec: needs.block_training_mb(size, tokens),
    ),
    "runtime": trained(
        lambda size, tokens, spec: needs.training_minutes(size // 2, tokens),
        lambda size, tokens, spec: needs.block_training_minutes(size // 2, tokens),
    ),
    "processors": processors,
}


def rounding_minutes(wildcards, input):
    """Of a model of two bytes a parameter."""
    parameters = file_bytes("base")(input) // 2
    return needs.rounding_minutes(parameters, study.rounding.steps, study.rounding.windows)


ROUNDING = {
    "mem_mb": lambda wildcards, input: needs.rounding_mb(
        file_bytes("base")(input), study.rounding.windows
    ),
    "runtime": rounding_minutes,
    "processors": processors,
}
