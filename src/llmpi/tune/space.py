"""What a search may choose from: levels of each key, and settings made of them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from pydantic import ValidationError

from llmpi.engine import records
from llmpi.records import check
from llmpi.study.measuring import Runtime
from llmpi.study.tuning import TuneSpace
from llmpi.tune.records import Changes, Level

Setting = tuple[int, ...]
"""Which of its levels each key of the space has, in the space's order; 0 is the base's own."""
AS_IT_IS = "as it is"
"""The base, for a person."""


class Space:
    """The keys with more than one level, and all settings that the engine can take.

    Args:
        base: where the search starts.
        levels: what to try, by key; what is the base's own, or does the same as another level for
            the workloads, is left out.
        threads: the base's, where it names none.
        longest_prompt_tokens: of the workloads; longer batches than that are all the same.
    """

    def __init__(
        self,
        base: Runtime,
        levels: Mapping[str, Iterable[Level]],
        *,
        threads: int,
        longest_prompt_tokens: int,
    ) -> None:
        fields: dict[str, Level] = base.model_dump(exclude={"tune", "endpoint"})
        self._base = fields
        self._threads, self._longest = threads, longest_prompt_tokens
        found = {
            key: list({repr(self._effect(key, v)): v for v in (*values, fields[key])}.values())
            for key, values in levels.items()
        }
        self.levels: dict[str, list[Level]] = {
            key: [fields[key], *(v for v in values if v != fields[key])]
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
            fields = self._fields(setting)
            same = repr([self._effect(key, fields[key]) for key in self.levels])
            if same not in seen and _goes_together(fields):
                seen.add(same)
                yield setting

    def singles(self) -> list[Setting]:
        """The base with one key changed."""
        found = [self.single(i, j) for i, count in enumerate(self.counts) for j in range(1, count)]
        return [setting for setting in found if _goes_together(self._fields(setting))]

    def single(self, key: int, level: int) -> Setting:
        """The base with one key changed to one of its levels."""
        return (*self.base[:key], level, *self.base[key + 1 :])

    @property
    def counts(self) -> list[int]:
        """How many levels each key has."""
        return [len(values) for values in self.levels.values()]

    def runtime(self, setting: Setting) -> records.Runtime:
        """How the engine is run with it."""
        return check(json.dumps(self._fields(setting)), records.Runtime, self.words(setting))

    def changes(self, setting: Setting) -> Changes:
        """What differs from the base."""
        fields = self._fields(setting)
        return {
            key: (value, fields[key]) for key, value in self._base.items() if value != fields[key]
        }

    def words(self, setting: Setting) -> str:
        """The setting for a person."""
        changed = self.changes(setting).items()
        return ", ".join(f"{key}: {value}" for key, (_, value) in changed) or AS_IT_IS

    def _fields(self, setting: Setting) -> dict[str, Level]:
        """By key; a micro-batch is no larger than the batch."""
        chosen = zip(self.levels.items(), setting, strict=True)
        fields = {**self._base, **{key: values[level] for (key, values), level in chosen}}
        batch, ubatch = fields["batch_tokens"], fields["ubatch_tokens"]
        assert isinstance(batch, int) and isinstance(ubatch, int)
        return {**fields, "ubatch_tokens": min(ubatch, batch)}

    def _effect(self, key: str, value: Level) -> Level:
        if key in ("batch_tokens", "ubatch_tokens") and isinstance(value, int):
            return min(value, self._longest)
        return self._threads if key == "threads" and value is None else value


def levels_of(space: TuneSpace, processors: int) -> dict[str, list[Level]]:
    """The levels that a config names, with its defaults filled in."""
    levels: dict[str, list[Level]] = space.model_dump()
    if space.threads is None:
        levels["threads"] = [n for n in (processors, processors - 1, processors // 2) if n > 0]
    return levels


def _goes_together(fields: Mapping[str, Level]) -> bool:
    try:
        Runtime.model_validate(fields)
    except ValidationError:
        return False
    return True
