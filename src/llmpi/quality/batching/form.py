"""An answer held to a form while it is written: by a grammar, as llama.cpp's sampler applies it."""

import ctypes
import json
from typing import Any

import numpy as np

from llmpi.engine.low_level import llama_cpp
from llmpi.quality.records import Json

CANDIDATES = 64
"""Tokens that are tried before all are."""
ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data (llama.h)."""


class FormError(Exception):
    """A form that the engine cannot hold an answer to; the message is for a person."""


def grammar_of(schema: Json) -> str:
    """The grammar (GBNF) of what is JSON of this schema.

    Raises:
        FormError: there is none.
    """
    from llama_cpp.llama_grammar import json_schema_to_gbnf  # with all of it, where there is a form

    try:
        return json_schema_to_gbnf(json.dumps(schema))
    except Exception as error:  # a stranger's schema, another project's converter
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise FormError(f"the schema makes no grammar: {reason}") from None


class Form:
    """The state of one answer within a grammar.

    Args:
        vocab: of the model that answers.
        grammar: GBNF; its root is called `root`.

    Raises:
        FormError: the engine does not take it.
    """

    def __init__(self, vocab: Any, grammar: str) -> None:
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
        if not self._sampler:
            raise FormError("the engine does not take the grammar of the schema")

    def choose(self, logits: np.ndarray) -> int | None:
        """The likeliest token that goes on within the grammar, or ends it; None where none does."""
        likeliest = np.argpartition(-logits, min(CANDIDATES, len(logits) - 1))[:CANDIDATES]
        for ids in (np.argmax(logits, keepdims=True), likeliest, np.arange(len(logits))):
            token = self._best(ids, logits)
            if token is not None:
                llama_cpp.llama_sampler_accept(self._sampler, token)
                return token
        return None

    def _best(self, ids: np.ndarray, logits: np.ndarray) -> int | None:
        entries = np.zeros(len(ids), ENTRY)
        entries["id"], entries["logit"] = ids, logits[ids]
        data = ctypes.cast(entries.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
        array = llama_cpp.llama_token_data_array(
            data=data, size=len(ids), selected=-1, sorted=False
        )
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        best = int(np.argmax(entries["logit"]))
        return int(entries["id"][best]) if np.isfinite(entries["logit"][best]) else None

    def __del__(self) -> None:
        if getattr(self, "_sampler", None):
            llama_cpp.llama_sampler_free(self._sampler)
