"""Have an endpoint answer the questions of a task, and score its answers."""

import shutil
from pathlib import Path

from typing_extensions import TypedDict

from llmpi.quality.squad.asked import conversations, score_asked
from llmpi.quality.squad.records import AskingSettings, Questions
from llmpi.records import write_json
from llmpi.remote import requests
from llmpi.remote.ask import ask_there
from llmpi.remote.records import Provisioned
from llmpi.script import run
from llmpi.study.devices import SingleDevice
from llmpi.study.endpoint import Endpoint


class Asking(TypedDict):
    """Who is asked, from where, and how."""

    device: SingleDevice
    endpoint: Endpoint
    questions: AskingSettings


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    runtime: str,
    questions: Questions,
    provisioned: Provisioned,
    spec: Asking,
    asked: Path,
) -> None:
    how, endpoint = spec["questions"], requests.endpoint(spec["endpoint"], model, quant)
    kept = asked.with_suffix(".parts")
    answers = ask_there(
        device,
        spec["device"],
        what=f"{study}: questions to {model} {quant} {runtime}",
        endpoint=endpoint,
        conversations=conversations(questions, how),
        max_new_tokens=how["max_new_tokens"],
        thinking_tokens=how["thinking_tokens"],
        provisioned=provisioned,
        kept=kept,
    )
    write_json(asked, score_asked(questions, how, endpoint, answers))
    shutil.rmtree(kept, ignore_errors=True)


if __name__ == "__main__":
    run(main)
