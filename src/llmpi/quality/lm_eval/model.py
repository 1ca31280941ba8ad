"""Tasks of lm-evaluation-harness on a GGUF file, at the batched engine's speed.

Needs the extra `lm-eval`. `python -m llmpi.quality.lm_eval.model JOB OUT` is the process that
`llmpi.quality.lm_eval.evaluate` starts; its arguments are files.
"""

import importlib.metadata
import itertools
import json
import math
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, hash_string, make_disjoint_window

from llmpi.accidents import accident
from llmpi.engine import info as engine_info
from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.chat.template import TemplateError
from llmpi.engine.llama import EngineError
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.progress import Progress
from llmpi.engine.records import Failed, Message
from llmpi.errors import LlmpiError
from llmpi.quality.batching import schedule
from llmpi.quality.batching.company import objection
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.grouping import groups_of
from llmpi.quality.batching.schedule import Request, Score, Tokens, shape_of
from llmpi.quality.lm_eval.evaluate import Job, Outcome
from llmpi.quality.lm_eval.records import (
    HarnessItem,
    HarnessTask,
    HarnessThoughts,
    LmEvalScored,
    LmEvalSummary,
    Metric,
    Share,
)
from llmpi.quality.records import Counts, Resampling
from llmpi.quality.thoughts import Thought, thoughts_of
from llmpi.records import failed, now, sha256_of_json

MAX_GEN_TOKS = 256
"""Bound on an answer's tokens where a task names none: the harness's own default."""

GREEDY_KEYS = {"until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k", "min_p"}
"""Generation settings that are known to leave a greedy answer as it is, and those we follow."""

FRACTIONS = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}
"""Metrics of the harness that are a share of the items, by their definition."""

RESAMPLING: Resampling = {"resamples": 1000, "seed": 0}
"""Of the metrics whose standard error has no closed form (F1, BLEU, ...). The seed is the harness's
own: it takes the numbers from 0, one for each thousand."""


class GgufLM(TemplateLM):
    """A model class of lm-evaluation-harness on our engine: greedy, shared prefixes computed once.

    How text is split into tokens, and cut where it is too long, is as in the harness's own `HFLM`
    (lm_eval/models/huggingface.py of 0.4.13): a context loses tokens from the left until context
    and continuation, or context and `max_gen_toks`, are within `max_length` tokens. One thing
    differs: a rolling log-likelihood is that of the text's own tokens behind the BOS; HFLM also
    predicts, from the BOS, the BOS that a tokenizer such as Llama's has put in front of them.

    Args:
        engine: stays open as long as this is used.
        thinking_tokens: bound on the thought before an answer to a chat prompt; None: no thought.

    Attributes:
        max_length: tokens of one sequence: what the model was trained for, or what fits the
            context beside the padding.
        batching: for each kind of request that was run, the batches it took.
        marks: in answers to chats, those of which nothing is known.

    Raises:
        LlmpiError: the engine's context is too small; or, of the methods, a request asks for what
            there is not: sampling, an answer longer than the context, an empty continuation.
    """

    def __init__(self, engine: BatchEngine, thinking_tokens: int | None = None) -> None:
        super().__init__()
        self._engine = engine
        self._adds_bos = llama_cpp.llama_vocab_get_add_bos(engine.vocab)
        bos, eos = engine.special_texts()
        self._bos_text, self._thinking_tokens = bos, thinking_tokens
        self._chats = False
        self._chat, self._at_once = (
            ChatFormat(
                engine.chat_template(),
                bos_token=bos,
                eos_token=eos,
                vocabulary=engine.special_tokens,
                thinking=thinking,
            )
            for thinking in (thinking_tokens is not None, False)
        )
        shape = engine.shape
        trained = llama_cpp.llama_model_n_ctx_train(engine.model)
        # A shared prefix may be nearly as long, and the engine wants two batches behind it.
        self.max_length = min(trained, shape.context_tokens - 2 * shape.rows)
        if self.max_length < 2:
            raise LlmpiError(
                f"a context of {shape.context_tokens} tokens is too small: more than "
                f"{2 * shape.rows} are needed. Raise context_tokens."
            )
        self.batching: list[Counts] = []
        self.marks: set[str] = set()
        self._answers = 0
        self._thoughts: list[Thought] = []

    # --- text and tokens --------------------------------------------------------------------------

    @property
    def eot_token_id(self) -> int:
        return llama_cpp.llama_vocab_eos(self._engine.vocab)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context: BOS, or EOS where the model has no BOS."""
        bos = llama_cpp.llama_vocab_bos(self._engine.vocab)
        return bos if bos >= 0 else self.eot_token_id

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: object
    ) -> list[int]:
        """Tokens of a text; the BOS is left out if `add_special_tokens` is false."""
        tokens = self._engine.tokenize(string)
        added = self._adds_bos and not string.startswith(self._bos_text)
        return tokens[1:] if added and add_special_tokens is False else tokens

    @property
    def tokenizer_name(self) -> str:
        return self._chat.sha256

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self._engine.chat_template() if chat_template else None

    def apply_chat_template(
        self, chat_history: list[Message], add_generation_prompt: bool = True
    ) -> str:
        """The turns as the model knows them; without a generation prompt the last is left open."""
        if not self._chat.has_template:
            raise LlmpiError(
                "the model's file has no chat template: set apply_chat_template: false"
            )
        if self._chat.thinking and not self._chat.thinks:
            raise LlmpiError(
                "the model is to think, but its chat template shows nothing of thoughts: set its "
                "`thinking` to off"
            )
        self._chats, self._engine.marks = True, self._chat.marks
        if add_generation_prompt:
            return self._chat.render(chat_history).text
        # The answer has begun: no thought comes before it.
        return self._at_once.render(chat_history[:-1]).text + chat_history[-1]["content"]

    # --- what the harness asks --------------------------------------------------------------------

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], **_: object
    ) -> list[tuple[float, bool]]:
        """Called by `TemplateLM.loglikelihood`: (texts, context, continuation) of each request."""
        if self._chats and self._chat.thinks:
            raise LlmpiError(
                "this task asks how likely its choices are, which says nothing in front of a "
                "thought: set the model's `thinking` to off, or take the task out"
            )
        for (context, continuation), _context, tokens in requests:
            if not tokens:
                raise LlmpiError(
                    f"the continuation {continuation!r} adds no token to the context that ends in "
                    f"{context[-40:]!r}: mend the task's choices or its target_delimiter"
                )
        scores = self._score([(tuple(context), tuple(tokens)) for _, context, tokens in requests])
        return [(score.log_likelihood, score.greedy) for score in scores]

    def loglikelihood_rolling(self, requests: Sequence[Instance], **_: object) -> list[float]:
        """Natural log-likelihood of each text, in windows of `max_length` tokens."""
        texts = [self._windows(request.args[0]) for request in requests]
        scores = iter(self._score([window for windows in texts for window in windows]))
        return [
            sum(score.log_likelihood for score in itertools.islice(scores, len(windows)))
            for windows in texts
        ]

    def generate_until(self, requests: Sequence[Instance], **_: object) -> list[str]:
        """The greedy answer to each context, cut before the first of its stop strings."""
        asked = [self._generation(*request.args) for request in requests]
        outcomes = self._run(asked)
        if self._chats:
            self.marks |= {mark for one in outcomes for mark in self._engine.unknown_marks(one)}
            self._answers += len(outcomes)
            self._thoughts += filter(None, map(self._thought, outcomes))
        return [
            postprocess_generated_text(self._engine.answer(outcome), list(request.until), None)
            for request, outcome in zip(asked, outcomes, strict=True)
        ]

    def _thought(self, outcome: schedule.Outcome) -> Thought | None:
        tokens = self._engine.thought(outcome)
        return None if tokens is None else Thought(len(tokens), outcome.answer_at is not None)

    @property
    def thinking(self) -> HarnessThoughts | None:
        """What came before the answers to chats; None where the model was to answer at once."""
        if self._thinking_tokens is None or not self._answers:
            return None
        return {"answers": self._answers, **thoughts_of(self._thoughts)}

    # --- as requests to the engine ----------------------------------------------------------------

    def _windows(self, text: str) -> list[tuple[Tokens, Tokens]]:
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(text, add_special_tokens=False),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        disjoint = map(make_disjoint_window, windows)
        return [(tuple(context), tuple(predicted)) for context, predicted in disjoint]

    def _generation(self, context: str, settings: Any) -> Request:
        wanted: Any = normalize_gen_kwargs(settings, MAX_GEN_TOKS)  # the harness's own
        if wanted["do_sample"]:
            raise LlmpiError(
                "the engine answers greedily: set do_sample: false and temperature: 0.0 in the "
                "task's generation_kwargs"
            )
        if unknown := wanted.keys() - GREEDY_KEYS:
            raise LlmpiError(
                f"generation_kwargs of a task: {', '.join(sorted(unknown))} cannot be followed; "
                f"known are {', '.join(sorted(GREEDY_KEYS))}"
            )
        most = wanted["max_gen_toks"]
        thought = (
            self._chat.thought(context, self._thinking_tokens or most) if self._chats else None
        )
        room = self.max_length - most - (thought.tokens if thought else 0)
        if room < 1:
            with_thought = ", and the thought before it," if thought else ""
            raise LlmpiError(
                f"max_gen_toks {most}{with_thought} leaves no room for a prompt in "
                f"{self.max_length} tokens: raise context_tokens, or lower it in the task"
            )
        prompt = self.tok_encode(context) or [self.prefix_token_id]
        until = tuple(text for text in wanted["until"] if text)
        return Request(tuple(prompt[-room:]), most, until=until, thought=thought)

    def _score(self, pairs: Sequence[tuple[Tokens, Tokens]]) -> list[Score]:
        """Of each continuation behind its context; those behind the same one are one request."""
        behind: dict[Tokens, list[int]] = {}
        for i, (context, continuation) in enumerate(pairs):
            # The last token is never an input: the harness counts that way, too.
            room = self.max_length + 1 - len(continuation)
            if room < 1:
                raise LlmpiError(
                    f"a continuation of {len(continuation)} tokens does not fit "
                    f"{self.max_length}: raise context_tokens"
                )
            behind.setdefault(context[-room:], []).append(i)
        continuations = [continuation for _, continuation in pairs]
        parts = [
            (prompt, part)
            for prompt, numbers in behind.items()
            for part in self._parts(prompt, numbers, continuations)
        ]
        asked = [Request(p, score=tuple(continuations[i] for i in part)) for p, part in parts]
        scores: dict[int, Score] = {}
        for (_, part), outcome in zip(parts, self._run(asked), strict=True):
            scores |= zip(part, outcome.scores, strict=True)
        return [scores[i] for i in range(len(pairs))]

    def _parts(
        self, prompt: Tokens, numbers: Sequence[int], continuations: Sequence[Tokens]
    ) -> list[list[int]]:
        """As many continuations a request as the context and a fair share of sequences allow."""
        shape = self._engine.shape
        most, room = shape.sequences // 4, shape.context_tokens - shape.rows - len(prompt)
        parts: list[list[int]] = []
        left = 0
        for i in numbers:
            if not parts or len(parts[-1]) == most or len(continuations[i]) > left:
                parts.append([])
                left = room
            parts[-1].append(i)
            left -= len(continuations[i])
        return parts

    def _run(self, requests: Sequence[Request]) -> list[schedule.Outcome]:
        if not requests:
            return []
        order = groups_of([request.prompt for request in requests])
        groups = [[requests[i] for i in group] for group in order]
        self._engine.share(groups)
        outcomes, counts = self._engine.run(groups, done=Progress(len(requests)).at)
        assert not any(outcome.error for outcome in outcomes), "requests are cut to fit"
        self.batching.append(counts)
        found = dict(zip(itertools.chain.from_iterable(order), outcomes, strict=True))
        return [found[i] for i in range(len(requests))]


# --- in the child ---------------------------------------------------------------------------------


def main(job: str, out: str) -> None:
    """Write the quality record of a job, or why there is none."""
    engine_info.log_to(sys.stderr.write)
    asked: Job = json.loads(Path(job).read_text(encoding="utf-8"))
    record: LmEvalScored | Failed
    try:
        record = _evaluate(asked)
    except EngineError as error:
        sys.exit(str(error))
    except (LlmpiError, TemplateError) as error:
        record = failed("quality", str(error))
    except Exception as error:
        if accident(error):
            raise
        # A task is other people's code and data: whatever it raises is this cell's result.
        traceback.print_exc()
        reason = " ".join(str(error).split())
        record = failed("quality", f"lm-evaluation-harness: {type(error).__name__}: {reason}")
    outcome: Outcome = {"scored": record}
    Path(out).write_text(json.dumps(outcome), encoding="utf-8")


def _evaluate(job: Job) -> LmEvalScored:
    settings, started = job["settings"], now()
    tasks = _task_manager(settings["tasks"], settings["include_path"])
    shape = shape_of(settings["context_tokens"])
    with BatchEngine(
        Path(job["gguf"]),
        threads=job["threads"],
        shape=shape,
        computation=settings["computation"],
    ) as engine:
        model = GgufLM(engine, settings["thinking_tokens"])
        engine.one_at_a_time = objection(engine, Path(job["gguf"]))
        results = simple_evaluate(
            model,
            tasks=settings["tasks"],
            task_manager=tasks,
            num_fewshot=settings["num_fewshot"],
            limit=settings["limit"],
            apply_chat_template=settings["apply_chat_template"],
            bootstrap_iters=RESAMPLING["resamples"],
            random_seed=0,
            numpy_random_seed=0,
            torch_random_seed=None,
            fewshot_random_seed=0,
        )
        scored: LmEvalScored = {
            "status": "ok",
            "summary": summarize(results),
            "resampling": RESAMPLING,
            "tasks": describe_tasks(results),
            "settings": settings,
            "max_length": model.max_length,
            "chat_template_sha256": model.tokenizer_name,
            "gguf_sha256": job["gguf_sha256"],
            "engine": engine_info.describe(),
            "harness": importlib.metadata.version("lm_eval"),
            "threads": job["threads"],
            "shape": shape.record(),
            "batching": model.batching,
            "started": started,
            "ended": now(),
            "items": items_of(results),
        }
        if thinking := model.thinking:
            scored["summary"]["thinking"] = thinking
        if model.marks:
            scored["marks"] = sorted(model.marks)
        return scored


def _task_manager(names: Sequence[str], include_path: str | None) -> TaskManager:
    """Knows all of `names`.

    Raises:
        LlmpiError: there is no such task.
    """
    if include_path:
        own = TaskManager(include_path=include_path, include_defaults=False)
        if set(names) <= set(own.all_subtasks):
            return own  # it takes long to read the harness's own 14 thousand
    every = TaskManager(include_path=include_path)
    if unknown := set(names) - set(every.all_tasks):
        where = f", and neither has {include_path}" if include_path else ""
        raise LlmpiError(
            f"lm-evaluation-harness has no task {', '.join(sorted(unknown))}{where}. "
            "`lm-eval ls tasks` lists what it has; include_path names a folder of your own"
        )
    return every


# --- the harness's results as a record ------------------------------------------------------------

Results = Any
"""What `simple_evaluate` returns: the harness gives it no type."""


def summarize(results: Results) -> LmEvalSummary:
    """Its metrics, whatever they are; what is a share of the items in per cent."""
    metrics: dict[str, Share | Metric] = {}
    for task, found in results["results"].items():
        better = results["higher_is_better"].get(task, {})
        for key, value in _plain(found).items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float | None):
                continue
            error = found.get(f"{metric}_stderr,{kind}")
            metrics[f"{task}/{key}"] = _metric(metric, value, error, better.get(metric))
    counts = results["n-samples"].values()
    return {"items": sum(count["effective"] for count in counts), "metrics": metrics}


def _metric(name: str, value: object, error: object, better: bool | None) -> Share | Metric:
    found, spread = _number(value), _number(error)
    if name not in FRACTIONS:
        return {"value": found, "stderr": spread, "higher_is_better": better}
    pct, spread_pct = (None if x is None else 100 * x for x in (found, spread))
    return {"pct": pct, "stderr_pct": spread_pct, "higher_is_better": better}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def describe_tasks(results: Results) -> dict[str, HarnessTask]:
    """Task -> its version, shots, items; hashes of its configuration and of what was asked.

    `items_sha256` is the harness's own `task_hash` (lm_eval/loggers/evaluation_tracker.py).
    """
    tasks: dict[str, HarnessTask] = {}
    for name, samples in results["samples"].items():
        hashes = [s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples]
        tasks[name] = {
            "version": results["versions"][name],
            "shots": results["n-shot"][name],
            "items": results["n-samples"][name]["effective"],
            "config_sha256": sha256_of_json(_plain(results["configs"][name])),
            "items_sha256": hash_string("".join(hashes)),
        }
    return tasks


def items_of(results: Results) -> list[HarnessItem]:
    """One record an item and filter: what came of it, and its part in each of the metrics."""
    return [
        {
            "task": task,
            "id": sample["doc_id"],
            "doc_sha256": sample["doc_hash"],
            "filter": sample["filter"],
            "target": _plain(sample["target"]),
            "responses": _plain(sample["filtered_resps"]),
            "metrics": {metric: _plain(sample[metric]) for metric in sample["metrics"]},
        }
        for task, samples in results["samples"].items()
        for sample in samples
    ]


def _plain(value: Any) -> Any:
    """As JSON can hold it: numbers of numpy are numbers, those that are none are None, what is not
    known becomes its text."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
