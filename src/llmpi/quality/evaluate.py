"""Score a variant on a task: answers from the engine in a child process, metrics here."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmpi.device.supervise import Death, supervise
from llmpi.quality import squad
from llmpi.quality.squad import Paragraph
from llmpi.quality.statistics import clustered_interval
from llmpi.records import Record, failed, is_ok, now

log = logging.getLogger(__name__)

Item = dict[str, Any]
METRICS: dict[str, tuple[str, Callable[[Item], bool]]] = {
    "exact": ("exact", lambda _: True),
    "f1": ("f1", lambda _: True),
    "has_ans_exact": ("exact", lambda item: bool(item["golds"])),
    "has_ans_f1": ("f1", lambda item: bool(item["golds"])),
    "no_ans_exact": ("exact", lambda item: not item["golds"]),
    "no_ans_f1": ("f1", lambda item: not item["golds"]),
}


def evaluate(
    gguf: Path, manifest: Record, questions: Record, settings: dict[str, Any], threads: int
) -> Record:
    """The quality record of one variant on one task. An engine that dies is a result, too.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.
        questions: of `llmpi.quality.questions.prepare`.
        settings: `max_new_tokens` and `context_tokens`.
    """
    if not is_ok(manifest):
        return manifest
    job = {"gguf": str(gguf), "squad": questions["squad"], "threads": threads, **settings}
    started = now()
    answers = supervise(__name__, job, log=_tell)
    if isinstance(answers, Death):
        return failed("quality", answers.reason, log_tail=answers.tail)
    items = score_items(squad.parse(questions["squad"], "questions"), answers["answers"])
    return {
        "status": "ok",
        "summary": summarize(items),
        "settings": settings,
        "questions_sha256": questions["sha256"],
        "prompt_sha256": answers["prompt_sha256"],
        "has_chat_template": answers["has_chat_template"],
        "gguf_sha256": manifest["sha256"],
        "engine": answers["engine"],
        "threads": threads,
        "batching": "one sequence, prefix of the paragraph reused",
        "started": started,
        "ended": now(),
        "items": items,
    }


def score_items(paragraphs: Sequence[Paragraph], answers: Sequence[Item]) -> list[Item]:
    """One item per question, in order: what was asked, answered, and how it scores."""
    from llmpi.quality.prompt import prediction

    asked = [(i, q) for i, paragraph in enumerate(paragraphs) for q in paragraph.questions]
    items = []
    for (paragraph, question), answer in zip(asked, answers, strict=True):
        predicted = prediction(answer["text"])
        exact, f1 = squad.score(question, predicted) if answer["error"] is None else (0, 0.0)
        items.append(
            {
                "id": question.id,
                "paragraph": paragraph,
                "golds": list(question.golds),
                "answer": answer["text"],
                "prediction": predicted,
                "normalized": squad.normalize(predicted),
                "exact": exact,
                "f1": f1,
                "prompt_tokens": answer["prompt_tokens"],
                "new_tokens": answer["new_tokens"],
                "stopped": answer["stopped"],
                "error": answer["error"],
            }
        )
    return items


def summarize(items: Sequence[Item]) -> Record:
    """Means in per cent with 95 % intervals (bootstrap over paragraphs).

    Returns:
        metric -> {pct, low_pct, high_pct, items}, for the metrics that have items; `errors` counts
        the items that could not be asked (they score 0).
    """
    summary: Record = {"items": len(items), "errors": sum(i["error"] is not None for i in items)}
    summary["abstentions"] = sum(item["prediction"] == "" for item in items)
    metrics = {}
    for name, (key, belongs) in METRICS.items():
        chosen = [item for item in items if belongs(item)]
        if chosen:
            values = [100.0 * item[key] for item in chosen]
            interval = clustered_interval(values, [item["paragraph"] for item in chosen])
            low, high = interval or (None, None)
            metrics[name] = {
                "pct": sum(values) / len(values),
                "low_pct": low,
                "high_pct": high,
                "items": len(values),
            }
    return {**summary, "metrics": metrics}


def _tell(line: str) -> None:
    if line.startswith("llmpi: "):
        log.info("%s", line.removeprefix("llmpi: "))
    else:
        log.debug("%s", line)


# --- in the child ---------------------------------------------------------------------------------


def main(job: str, out: str) -> None:
    """Ask every question; progress goes to stderr."""
    from llmpi.device import engine_info
    from llmpi.device.engine import Engine, EngineError, Settings
    from llmpi.quality.generate import generate

    keep_alive = engine_info.log_to(sys.stderr.write)
    spec = json.loads(Path(job).read_text())
    paragraphs = squad.parse(spec["squad"], "questions")
    try:
        settings = Settings(threads=spec["threads"])
        with Engine(Path(spec["gguf"]), settings, context_tokens=spec["context_tokens"]) as engine:
            prompt = _chat_prompt(engine)
            groups = [
                [engine.tokenize(prompt.render(p.context, q.question)) for q in p.questions]
                for p in paragraphs
            ]
            answers = []
            done, total = 0, sum(map(len, groups))
            for group, found in zip(
                groups, generate(engine, groups, spec["max_new_tokens"]), strict=True
            ):
                answers += [
                    {
                        "text": engine.text(answer.tokens),
                        "prompt_tokens": len(tokens),
                        "new_tokens": len(answer.tokens),
                        "stopped": answer.stopped,
                        "error": answer.error,
                    }
                    for tokens, answer in zip(group, found, strict=True)
                ]
                done += len(group)
                print(f"llmpi: {done}/{total} questions", file=sys.stderr, flush=True)
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text(
        json.dumps(
            {
                "answers": answers,
                "prompt_sha256": prompt.sha256,
                "has_chat_template": prompt.has_template,
                "engine": engine_info.describe(),
            }
        )
    )
    del keep_alive


def _chat_prompt(engine: Any) -> Any:
    from llmpi.quality.prompt import ChatPrompt

    bos, eos = engine.special_texts()
    return ChatPrompt(engine.chat_template(), bos_token=bos, eos_token=eos)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
