"""llama.cpp's low-level API, as little of it as a measurement needs."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from llmpi.engine import info
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.params import FLASH_ATTENTION, KV_TYPES, LAZY_MODES, LOAD_MODES, fill
from llmpi.engine.records import EngineSettings, KvType, SentPrompt, Token
from llmpi.engine.shards import parts

if TYPE_CHECKING:
    import numpy as np

SHOWN_TOKENS = 16
"""Of a prompt's beginning, and of its end."""


class EngineError(Exception):
    """The engine refused: the message is for a person."""


class LacksSettingError(EngineError):
    """It knows no such setting."""


@dataclass(frozen=True)
class Settings:
    """How the engine is run: the fields of `llmpi.study.measuring.Runtime` that are its own."""

    threads: int
    batch_tokens: int = 2048
    ubatch_tokens: int = 512
    kv_cache: KvType = "f16"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    mmap: bool = True
    mlock: bool = False
    lazy: Literal["auto", "on", "off"] = "auto"
    repack: bool = True

    def record(self) -> EngineSettings:
        return {
            "threads": self.threads,
            "batch_tokens": self.batch_tokens,
            "ubatch_tokens": self.ubatch_tokens,
            "kv_cache": self.kv_cache,
            "flash_attention": self.flash_attention,
            "mmap": self.mmap,
            "mlock": self.mlock,
            "lazy": self.lazy,
            "repack": self.repack,
        }


def model_fields(settings: Settings, *, vocabulary_alone: bool = False) -> dict[str, int]:
    """What is set of llama.cpp's `llama_model_params`, whichever engine it is."""
    return {
        "load_mode": LOAD_MODES[settings.mmap, settings.mlock],
        "use_extra_bufts": settings.repack,
        "vocab_only": vocabulary_alone,
    }


def context_fields(
    settings: Settings, context_tokens: int, sequences: int = 1, *, apart: bool = False
) -> dict[str, int]:
    """What is set of its `llama_context_params`."""
    return {
        "n_ctx": context_tokens,
        "n_batch": settings.batch_tokens,
        "n_ubatch": settings.ubatch_tokens,
        "n_threads": settings.threads,
        "n_threads_batch": settings.threads,
        "type_k": KV_TYPES[settings.kv_cache],
        "type_v": KV_TYPES[settings.kv_cache],
        "flash_attn_type": FLASH_ATTENTION[settings.flash_attention],
        "n_seq_max": sequences,
        "kv_unified": sequences > 1 and not apart,
    }


class Rows:
    """A batch of tokens of several sequences: arrays that the engine reads, an entry for each.

    `wanted` says behind which tokens logits are kept.
    """

    def __init__(self, count: int) -> None:
        import numpy as np  # slow, and one conversation does without

        self.tokens = np.zeros(count, np.int32)
        self.positions = np.zeros(count, np.int32)
        self.sequences = np.zeros(count, np.int32)
        self.wanted = np.zeros(count, np.int8)
        self._of_one = np.ones(count, np.int32)
        step = self.sequences.itemsize
        self._where = self.sequences.ctypes.data + step * np.arange(count, dtype=np.uintp)

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, start: int, stop: int) -> Any:
        """The rows from `start` to `stop` as the engine takes them; valid as long as `self`."""
        batch = llama_cpp.llama_batch(n_tokens=stop - start)
        for name, array in (
            ("token", self.tokens),
            ("pos", self.positions),
            ("n_seq_id", self._of_one),
            ("seq_id", self._where),
            ("logits", self.wanted),
        ):
            kind = type(getattr(batch, name))
            fill(batch, **{name: ctypes.cast(array[start:].ctypes.data, kind)})
        return batch


class Model:
    """What a file holds, weights and vocabulary.

    Args:
        gguf: the model file.
        beside: of the same file and settings, whose weights this one uses, and which has to be
            closed after this one.
        vocabulary_alone: no weights, for who counts tokens.

    Raises:
        EngineError: the file cannot be loaded.
    """

    def __init__(
        self,
        gguf: Path,
        settings: Settings,
        *,
        beside: "Model | None" = None,
        vocabulary_alone: bool = False,
    ) -> None:
        self.settings = settings
        self._beside, self._vocabulary_alone = beside, vocabulary_alone
        self.model: Any = beside.model if beside else self._load(gguf)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab_tokens = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def _load(self, gguf: Path) -> Any:
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        fill(params, **model_fields(self.settings, vocabulary_alone=self._vocabulary_alone))
        if self.settings.lazy != "auto":  # which an engine without it does not miss
            try:
                fill(params, lazy_mode=LAZY_MODES[self.settings.lazy])
            except AttributeError as error:
                raise LacksSettingError(
                    f"lazy: {self.settings.lazy} is not to be had of the engine here, "
                    f"{info.named()}: {error}; leave `lazy` out, or have a newer engine there"
                ) from None
        model = llama_cpp.llama_model_load_from_file(os.fsencode(parts(gguf)[0]), params)
        if not model:
            raise EngineError(f"llama.cpp cannot load {gguf.name}")
        return model

    def close(self) -> None:
        if not self._beside:
            llama_cpp.llama_model_free(self.model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tokenize(self, text: str) -> list[int]:
        """Tokens of `text`, special tokens read as such; BOS in front if the model wants one that
        is not there. Never EOS behind it, as a file may want for training: a prompt goes on."""
        raw = text.encode()
        count = -len(raw) - 8  # which nearly every vocabulary can do with
        while count < 0:
            tokens, room = (llama_cpp.llama_token * -count)(), -count
            count = llama_cpp.llama_tokenize(self.vocab, raw, len(raw), tokens, room, False, True)
        bos = llama_cpp.llama_vocab_bos(self.vocab)
        wanted = llama_cpp.llama_vocab_get_add_bos(self.vocab) and bos >= 0
        return [bos] * (wanted and tokens[: min(count, 1)] != [bos]) + tokens[:count]

    def text(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, special tokens left out."""
        return self._detokenized(tokens, special=False).decode("utf-8", "replace")

    def text_with_special(self, tokens: Sequence[int]) -> bytes:
        """The text of `tokens`, special tokens as they are called; a character may be cut."""
        return self._detokenized(tokens, special=True)

    def _detokenized(self, tokens: Sequence[int], *, special: bool) -> bytes:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama_cpp.llama_detokenize(
                self.vocab,
                array,
                len(tokens),
                ctypes.cast(buffer, ctypes.c_char_p),
                room,
                False,
                special,
            )
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def sent(self, tokens: Sequence[int], *, folded: bool = False) -> SentPrompt:
        """A prompt for a person to look at: its first and last tokens."""
        begin, end = tokens[:SHOWN_TOKENS], tokens[SHOWN_TOKENS:][-SHOWN_TOKENS:]
        return {
            "tokens": len(tokens),
            "begin": [self._shown(token) for token in begin],
            "end": [self._shown(token) for token in end],
            "folded": folded,
        }

    def _shown(self, token: int) -> Token:
        attributes = llama_cpp.llama_vocab_get_attr(self.vocab, token)
        return {
            "text": self.text_with_special([token]).decode("utf-8", "replace"),
            "special": bool(attributes & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL),
        }

    def chat_template(self) -> str | None:
        """The model's own chat template (Jinja), if its file holds one."""
        template = llama_cpp.llama_model_chat_template(self.model, None)
        return template.decode("utf-8", "replace") if template else None

    def trained_tokens(self) -> int | None:
        """The longest context that the model was trained on, as its file says."""
        architecture = self._said("general.architecture")
        said = self._said(f"{architecture}.context_length") if architecture else None
        return int(said) if said and said.isdecimal() else None

    def _said(self, key: str) -> str | None:
        """A value of the file's head."""
        room = ctypes.create_string_buffer(128)
        size = llama_cpp.llama_model_meta_val_str(self.model, key.encode(), room, len(room))
        return room.value.decode("utf-8", "replace") if size >= 0 else None

    def special_texts(self) -> tuple[str, str]:
        """Texts of the BOS and EOS tokens, "" where the model has none."""
        bos = llama_cpp.llama_vocab_bos(self.vocab)
        eos = llama_cpp.llama_vocab_eos(self.vocab)
        bos_text, eos_text = (
            llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace")
            if token >= 0
            else ""
            for token in (bos, eos)
        )
        return bos_text, eos_text

    def token_texts(self) -> Iterator[bytes]:
        """Of all tokens, as the file has them; of a file that has only their number, nothing."""
        if llama_cpp.llama_vocab_type(self.vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            return
        for token in range(self.vocab_tokens):
            yield llama_cpp.llama_vocab_get_text(self.vocab, token)

    def special_tokens(self) -> Iterator[str]:
        """Texts of all tokens that stand for no text, or that the model's makers added."""
        special = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        for token in range(self.vocab_tokens):
            if llama_cpp.llama_vocab_get_attr(self.vocab, token) & special:
                yield self.text_with_special([token]).decode("utf-8", "replace")

    def marks_in(self, tokens: Sequence[int]) -> list[str]:
        """Texts of those of the tokens that stand for no text."""
        shown = (self._shown(token) for token in tokens)
        return [token["text"] for token in shown if token["special"]]

    def is_end(self, token: int) -> bool:
        return llama_cpp.llama_vocab_is_eog(self.vocab, token)


class Engine(Model):
    """A model and a context, greedy sampling on the engine's side.

    Args:
        gguf: the model file.
        context_tokens: size of the KV cache in tokens.
        sequences: that share it; a token that several have in common takes one place.
        apart: each sequence has a part of the cache to itself, equal for all: attention then never
            looks at another one's cells.
        beside: see `Model`.

    Raises:
        EngineError: the file cannot be loaded or the context not be made.
    """

    _asked: tuple[int, int, bool]

    def __init__(
        self,
        gguf: Path,
        settings: Settings,
        *,
        context_tokens: int,
        sequences: int = 1,
        apart: bool = False,
        beside: Model | None = None,
    ) -> None:
        super().__init__(gguf, settings, beside=beside)
        self._greedy = llama_cpp.llama_sampler_init_greedy()
        self.context: Any = None
        try:
            self.resize(context_tokens, sequences, apart)
        except EngineError:
            self.close()
            raise

    def resize(self, context_tokens: int, sequences: int = 1, apart: bool = False) -> bool:
        """Have an empty context of so many tokens; whether it was made anew for that.

        Raises:
            EngineError: there is no memory for it, or the settings do not go together.
        """
        if self.context:
            if self._asked == (context_tokens, sequences, apart):
                self.keep(0)
                return False
            llama_cpp.llama_free(self.context)
            self.context = None
        settings = self.settings
        if sequences > settings.batch_tokens:  # llama.cpp would abort the process
            raise EngineError(
                f"batch_tokens is {settings.batch_tokens}, which leaves no room for a token of "
                f"each of {sequences} sequences"
            )
        params = llama_cpp.llama_context_default_params()
        fill(
            params,
            **context_fields(settings, context_tokens, sequences, apart=apart),
            **self._context_fields(),
        )
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise EngineError(f"llama.cpp cannot make a context of {context_tokens} tokens")
        self._asked = (context_tokens, sequences, apart)
        self.context_tokens = llama_cpp.llama_n_ctx(self.context)
        self.batch_tokens = llama_cpp.llama_n_batch(self.context)
        self.ubatch_tokens = llama_cpp.llama_n_ubatch(self.context)
        self._memory = llama_cpp.llama_get_memory(self.context)
        return True

    def _context_fields(self) -> dict[str, Any]:  # fields of a C structure, each of its own type
        """What else the context's parameters hold."""
        return {}

    def close(self) -> None:
        llama_cpp.llama_sampler_free(self._greedy)
        if self.context:
            llama_cpp.llama_free(self.context)
        super().close()

    def decode(self, tokens: Sequence[int]) -> None:
        """Append `tokens` to the sequence; logits of the last one are kept. Does not wait."""
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        for start in range(0, len(tokens), self.batch_tokens):
            count = min(self.batch_tokens, len(tokens) - start)
            here = ctypes.cast(
                ctypes.byref(array, start * ctypes.sizeof(llama_cpp.llama_token)),
                ctypes.POINTER(llama_cpp.llama_token),
            )
            code = llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(here, count))
            if code != 0:
                raise EngineError(f"llama_decode returned {code} for {count} tokens")

    def decode_all(self, tokens: Sequence[int]) -> "np.ndarray":
        """Append `tokens`, a batch at most; the logits behind each, until the next decoding.

        Returns:
            Shape (tokens, vocabulary), in the engine's own memory.
        """
        count = len(tokens)
        array = (llama_cpp.llama_token * count)(*tokens)
        batch = llama_cpp.llama_batch_get_one(array, count)
        fill(batch, logits=(ctypes.c_int8 * count)(*[True] * count))
        code = llama_cpp.llama_decode(self.context, batch)
        if code != 0:
            raise EngineError(f"llama_decode returned {code} for {count} tokens")
        return self.logits(count)

    def decode_rows(self, rows: Rows, start: int = 0, stop: int | None = None) -> None:
        """Compute these rows, a batch at most. Does not wait."""
        stop = len(rows) if stop is None else stop
        count = stop - start
        if count > self.batch_tokens:
            raise EngineError(f"a batch has room for {self.batch_tokens} tokens, not for {count}")
        code = llama_cpp.llama_decode(self.context, rows.batch(start, stop))
        if code != 0:
            raise EngineError(f"llama_decode returned {code} for {count} tokens")

    def logits(self, count: int) -> "np.ndarray":
        """The logits that the last rows wanted, `count` in all, until the next decoding.

        Returns:
            Shape (count, vocabulary), in the engine's own memory.
        """
        import numpy as np

        logits = llama_cpp.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, (count, self.vocab_tokens))

    def synchronize(self) -> None:
        llama_cpp.llama_synchronize(self.context)

    def greedy(self) -> int:
        """The most likely token behind the last decoded one."""
        return llama_cpp.llama_sampler_sample(self._greedy, self.context, -1)

    def fork(self, sequences: int) -> None:
        """Let the sequences 1 to `sequences` - 1 begin with all that sequence 0 holds."""
        for sequence in range(1, sequences):
            llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    def save(self, path: str) -> int:
        """Write the state of the sequence to a file; its bytes.

        Raises:
            EngineError: it cannot be written.
        """
        nothing = (llama_cpp.llama_token * 0)()
        written = llama_cpp.llama_state_seq_save_file(
            self.context, os.fsencode(path), 0, nothing, 0
        )
        if not written:
            raise EngineError("the state of the conversation could not be saved")
        return int(written)

    def state_bytes(self) -> int:
        """What `save` would write."""
        return int(llama_cpp.llama_state_seq_get_size(self.context, 0))

    def restore(self, path: str) -> None:
        """Have what `save` wrote as the state of the sequence.

        Raises:
            EngineError: it is none of this model and context.
        """
        nothing, count = (llama_cpp.llama_token * 1)(), ctypes.c_size_t()
        if not llama_cpp.llama_state_seq_load_file(
            self.context, os.fsencode(path), 0, nothing, 1, ctypes.byref(count)
        ):
            raise EngineError("the state of the conversation could not be restored")

    def can_cut_back(self, tokens: int) -> bool:
        """Whether everything behind the first `tokens` can be forgotten; if so, it is."""
        if llama_cpp.llama_memory_seq_pos_min(self._memory, 0) > 0:
            return False  # a window: the beginning is forgotten already
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, 0, tokens, -1))

    def keep(self, tokens: int) -> None:
        """Forget everything behind the first `tokens` tokens of the sequence; 0: of all."""
        if tokens == 0:
            llama_cpp.llama_memory_clear(self._memory, True)
        elif not llama_cpp.llama_memory_seq_rm(self._memory, 0, tokens, -1):
            raise EngineError("this model's memory cannot be cut back to a prefix")
