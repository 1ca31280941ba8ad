"""Tokens of what workloads ask, as far as they are known before any question is drawn."""

from typing import NamedTuple

from llmpi.plan.workstation import QUESTION_TOKENS, TEXT_TOKEN_BYTES
from llmpi.quality.squad.prompt import messages
from llmpi.study.measuring import AnswersWorkload
from llmpi.study.study import Study
from llmpi.study.tasks.squad import SquadTask


class Asked(NamedTuple):
    """Of a workload's prompt, and of the context that it needs."""

    prompt_tokens: int
    needed_tokens: int


def asked_of(study: Study, model: str, workload: str) -> Asked:
    """A question of a task is taken to be of the usual length, its answer to be as long as it
    may."""
    asked = study.workloads[workload]
    if not isinstance(asked, AnswersWorkload):
        return Asked(asked.prompt_tokens, asked.needed_tokens)
    task = study.quality[asked.task]
    prompt = QUESTION_TOKENS
    if isinstance(task, SquadTask):
        turns = messages("", "", task.examples, task.prompt)
        prompt += sum(len(turn["content"]) for turn in turns) // TEXT_TOKEN_BYTES
    thought = study.models[model].thinking_tokens or 0
    most: int = task.max_new_tokens  # type: ignore[attr-defined]  # of a task with questions
    return Asked(prompt, prompt + thought + most)
