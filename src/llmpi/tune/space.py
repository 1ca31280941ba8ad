"""What a search may choose from: levels of each key, and settings made of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import ValidationError

from llmpi.study.measuring import Runtime

Setting = tuple[int, ...]
"""Which of its levels each key of the space has, in the space's order; 0 is the base's own."""


class Space:
    """The keys with more than one level, and all settings that the engine can take.

    Args:
        base: fields of `llmpi.study.Runtime`, where the search starts.
        levels: what to try, by key; what is the base's own, or does the same as another level for
            the workloads, is left out.
        threads: the base's, where it names none.
        longest_prompt_tokens: of the workloads; longer batches than that are all the same.
    """

    def __init__(
        self,
        base: Mapping[str, Any],
        levels: Mapping[str, Iterable[Any]],
        *,
        threads: int,
        longest_prompt_tokens: int,
    ) -> None:
        self._base = dict(base)
        self._threads, self._longest = threads, longest_prompt_tokens
        found = {
            key: list({repr(self._effect(key, v)): v for v in (*values, base[key])}.values())
            for key, values in levels.items()
        }
        self.levels: dict[str, list[Any]] = {
            key: [base[key], *(v for v in values if v != base[key])]
            for key, values in found.items()
            if len(values) > 1
        }
        self.base: Setting = (0,) * len(self.levels)

    def settings(self, allowed: Sequence[Sequence[int]]) -> Iterator[Setting]:
        """All settings that the engine takes, and no two that are the same.

        Args:
            allowed: which levels of each key they are made of.
        """
        seen = set()
        for setting in product(*allowed):
            runtime = self.runtime(setting)
            same = repr([self._effect(key, runtime[key]) for key in self.levels])
            if same not in seen and _goes_together(runtime):
                seen.add(same)
                yield setting

    def singles(self) -> list[Setting]:
        """The base with one key changed."""
        found = [self.single(i, j) for i, count in enumerate(self.counts) for j in range(1, count)]
        return [setting for setting in found if _goes_together(self.runtime(setting))]

    def single(self, key: int, level: int) -> Setting:
        """The base with one key changed to one of its levels."""
        return (*self.base[:key], level, *self.base[key + 1 :])

    @property
    def counts(self) -> list[int]:
        """How many levels each key has."""
        return [len(values) for values in self.levels.values()]

    def runtime(self, setting: Setting) -> dict[str, Any]:
        """The fields of `llmpi.study.Runtime`; a micro-batch is no larger than the batch."""
        chosen = zip(self.levels.items(), setting, strict=True)
        runtime = {**self._base, **{key: values[level] for (key, values), level in chosen}}
        runtime["ubatch_tokens"] = min(runtime["ubatch_tokens"], runtime["batch_tokens"])
        return runtime

    def changes(self, setting: Setting) -> dict[str, tuple[Any, Any]]:
        """What differs from the base: key -> (its value, this one's)."""
        runtime = self.runtime(setting)
        return {
            key: (value, runtime[key]) for key, value in self._base.items() if value != runtime[key]
        }

    def words(self, setting: Setting) -> str:
        """The setting for a person."""
        changed = self.changes(setting).items()
        return ", ".join(f"{key}: {value}" for key, (_, value) in changed) or "as it is"

    def _effect(self, key: str, value: Any) -> Any:
        if key in ("batch_tokens", "ubatch_tokens"):
            return min(value, self._longest)
        return self._threads if key == "threads" and value is None else value


def levels_of(space: Mapping[str, Any], processors: int) -> dict[str, list[Any]]:
    """The levels that a config names, with its defaults filled in.

    Args:
        space: fields of `llmpi.study.TuneSpace`.
    """
    threads = space["threads"]
    if threads is None:
        threads = [n for n in (processors, processors - 1, processors // 2) if n > 0]
    return {**space, "threads": threads}


def _goes_together(runtime: Mapping[str, Any]) -> bool:
    try:
        Runtime.model_validate(dict(runtime))
    except ValidationError:
        return False
    return True
