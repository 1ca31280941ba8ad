"""Have an endpoint answer the user's prompts, and hold its answers against what is expected."""

from functools import partial
from pathlib import Path

from llmpi.quality.ab.asked import not_to_be_asked, score_asked
from llmpi.quality.ab.prompts import load_prompts
from llmpi.quality.ab.records import AbAskingSettings
from llmpi.records import write_json
from llmpi.remote.ask import Asking, ask_task
from llmpi.remote.records import Provisioned
from llmpi.script import run


def main(
    *,
    study: str,
    device: str,
    model: str,
    quant: str,
    runtime: str,
    prompts: Path,
    gguf: Path,
    provisioned: Provisioned,
    spec: Asking[AbAskingSettings],
    asked: Path,
) -> None:
    wanted = load_prompts(prompts)
    if failed := not_to_be_asked(wanted):
        write_json(asked, failed)
        return
    ask_task(
        (device, model, quant, runtime),
        spec,
        [prompt.chat() for prompt in wanted],
        partial(score_asked, prompts, wanted, spec["questions"]),
        what=f"{study}: prompts",
        gguf=gguf,
        provisioned=provisioned,
        asked=asked,
    )


if __name__ == "__main__":
    run(main)
