"""Have an endpoint answer the questions of a task, and score its answers."""

from functools import partial
from pathlib import Path

from llmpi.quality.squad.asked import conversations, score_asked
from llmpi.quality.squad.records import AskingSettings, Questions
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
    questions: Questions,
    gguf: Path,
    provisioned: Provisioned,
    spec: Asking[AskingSettings],
    asked: Path,
) -> None:
    how = spec["questions"]
    ask_task(
        (device, model, quant, runtime),
        spec,
        conversations(questions, how),
        partial(score_asked, questions, how),
        what=f"{study}: questions",
        gguf=gguf,
        provisioned=provisioned,
        asked=asked,
    )


if __name__ == "__main__":
    run(main)
