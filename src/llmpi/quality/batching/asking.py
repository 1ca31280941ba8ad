"""Conversations as requests to the engine, and outcomes as answers, thoughts split off."""

from typing import NamedTuple

from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.chat.template import RefusedTurnsError, TemplateError
from llmpi.engine.records import SentPrompt
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.form import Form, FormError, grammar_of
from llmpi.quality.batching.schedule import Outcome, Request
from llmpi.quality.records import Answer, Conversation, Decoding, Json


class Refused(NamedTuple):
    """A conversation that the model's chat template does not take."""

    why: str


class Asking:
    """One model, and how it is asked.

    Raises:
        TemplateError: its chat template is none, or shows nothing of the thoughts that are asked
            for; or, of the methods, has no end.
    """

    def __init__(self, engine: BatchEngine, settings: Decoding) -> None:
        bos, eos = engine.special_texts()
        self._engine, self._settings = engine, settings
        self._folded: set[tuple[int, ...]] = set()
        self.chat = ChatFormat(
            engine.chat_template(),
            bos_token=bos,
            eos_token=eos,
            vocabulary=engine.special_tokens,
            thinking=settings["thinking_tokens"] is not None,
        )
        if self.chat.thinking and not self.chat.thinks:
            raise TemplateError(
                "the model is to think, but its chat template shows nothing of thoughts, nor does "
                "its vocabulary: set its `thinking` to off"
            )
        engine.marks = self.chat.marks

    def request(self, item: Conversation) -> Request | Refused:
        """How likely a continuation is says nothing where a thought comes before it: then it is not
        asked."""
        try:
            prompt = self.chat.render(item["messages"], item.get("tools", ()))
            grammar = self._grammar(item.get("form"))
        except (RefusedTurnsError, FormError) as error:
            return Refused(str(error))
        tokens = tuple(self._engine.tokenize(prompt.text))
        if prompt.folded:
            self._folded.add(tokens)
        score: tuple[tuple[int, ...], ...] = ()
        if item["continuation"] is not None and not self.chat.thinks:
            whole = prompt.text + self.chat.begin("assistant") + item["continuation"]
            score = (tuple(self._engine.tokenize(whole))[len(tokens) :],)
        most = self._settings["max_new_tokens"]
        thought = self.chat.thought(prompt.text, self._settings["thinking_tokens"] or most)
        return Request(tokens, most, score, thought=thought, grammar=grammar)

    def _grammar(self, form: Json) -> str | None:
        """Of a JSON schema.

        Raises:
            FormError: the engine takes none that says so.
        """
        if form is None:
            return None
        grammar = grammar_of(form)
        Form(self._engine.vocab, grammar)
        return grammar

    def sent(self, asked: Request | Refused) -> SentPrompt:
        """What the engine gets."""
        tokens = asked.prompt if isinstance(asked, Request) else ()
        return self._engine.sent(tokens, folded=tokens in self._folded)

    def answer(self, asked: Request | Refused, outcome: Outcome) -> Answer:
        """
        Args:
            outcome: of the request; of one that was refused, an empty one.
        """
        if isinstance(asked, Refused):
            return _none(asked.why)
        if outcome.error:
            return {**_none(outcome.error), "prompt_tokens": len(asked.prompt)}
        thought = self._engine.thought(outcome)
        cut = outcome.answer_at is None
        found: Answer = {
            "text": self._engine.answer(outcome),
            "thought": None if thought is None else self._engine.text(thought),
            "prompt_tokens": len(asked.prompt),
            "new_tokens": len(outcome.tokens),
            "thought_tokens": len(thought or ()),
            "stopped": outcome.stopped,
            "error": _without_answer(outcome) if cut else None,
            "log_likelihood": outcome.scores[0].log_likelihood if outcome.scores else None,
        }
        if marks := self._engine.unknown_marks(outcome):
            found["marks"] = marks
        return found


def _without_answer(outcome: Outcome) -> str:
    if outcome.stopped:
        return "it ended within its thought"
    return f"its thought did not end within {len(outcome.tokens)} tokens"


def _none(error: str) -> Answer:
    return {
        "text": "",
        "thought": None,
        "prompt_tokens": 0,
        "new_tokens": 0,
        "thought_tokens": 0,
        "stopped": False,
        "error": error,
        "log_likelihood": None,
    }
