"""What a search may choose from: levels of each key, and settings made of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import ValidationError

from llmpi.study import Runtime

Setting = tuple[Any, ...]
"""One level for each key of the space, in its order."""


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
            key: list({self._effect(key, v): v for v in (*values, base[key])}.values())
            for key, values in levels.items()
        }
        self.levels: dict[str, list[Any]] = {
            key: [base[key], *(v for v in values if v != base[key])]
            for key, values in found.items()
            if len(values) > 1
        }
        self.base: Setting = tuple(values[0] for values in self.levels.values())

    def settings(self, levels: Mapping[str, Sequence[Any]]) -> Iterator[Setting]:
        """All settings made of `levels` that the engine takes, and no two that are the same."""
        seen = set()
        for setting in product(*levels.values()):
            runtime = self.runtime(setting)
            same = tuple(self._effect(key, runtime[key]) for key in self.levels)
            if same not in seen and _goes_together(runtime):
                seen.add(same)
                yield setting

    def singles(self) -> list[Setting]:
        """The base with one key changed."""
        found = [
            (*self.base[:i], level, *self.base[i + 1 :])
            for i, values in enumerate(self.levels.values())
            for level in values[1:]
        ]
        return [setting for setting in found if _goes_together(self.runtime(setting))]

    def runtime(self, setting: Setting) -> dict[str, Any]:
        """The fields of `llmpi.study.Runtime`; a micro-batch is no larger than the batch."""
        runtime = {**self._base, **dict(zip(self.levels, setting, strict=True))}
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
