"""Have an endpoint answer the user's prompts, and hold its answers against what is expected."""

import shutil
from pathlib import Path

from typing_extensions import TypedDict

from llmpi.quality.ab.asked import not_to_be_asked, score_asked
from llmpi.quality.ab.prompts import load_prompts
from llmpi.quality.ab.records import AbAskingSettings
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
    questions: AbAskingSettings


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    runtime: str,
    prompts: Path,
    provisioned: Provisioned,
    spec: Asking,
    asked: Path,
) -> None:
    wanted = load_prompts(prompts)
    if failed := not_to_be_asked(wanted):
        write_json(asked, failed)
        return
    how, endpoint = spec["questions"], requests.endpoint(spec["endpoint"], model, quant)
    kept = asked.with_suffix(".parts")
    answers = ask_there(
        device,
        spec["device"],
        what=f"{study}: prompts to {model} {quant} {runtime}",
        endpoint=endpoint,
        conversations=[prompt.chat() for prompt in wanted],
        max_new_tokens=how["max_new_tokens"],
        thinking_tokens=how["thinking_tokens"],
        provisioned=provisioned,
        kept=kept,
    )
    write_json(asked, score_asked(prompts, wanted, how, endpoint, answers))
    shutil.rmtree(kept, ignore_errors=True)


if __name__ == "__main__":
    run(main)
