"""The languages, each of which has a sentence for every fact."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from llmpi.decide.records import (
    AnyCaution,
    Choice,
    Decision,
    DeviceMoney,
    HatGain,
    Kill,
    NotCompared,
)
from llmpi.quality.kind import Objection
from llmpi.report.words import english, japanese
from llmpi.study.study import Language
from llmpi.summary.records import Differs, ParityMiss, PredictedCell, Unlike


class Words(Protocol):
    """What a language says; the modules of the languages are of this type."""

    def decision(self, made: Decision, choice: Choice) -> list[str]: ...
    def kill(self, found: Kill) -> str: ...
    def gate(self, found: Objection) -> str: ...
    def parity(self, reason: str, misses: Sequence[ParityMiss]) -> str: ...
    def caution(self, found: AnyCaution) -> str: ...
    def money(self, found: DeviceMoney, currency: str) -> list[str]: ...
    def no_money(self, reason: NotCompared) -> str: ...
    def hat(self, found: HatGain, currency: str) -> str: ...
    def unlike(self, found: Unlike) -> str: ...
    def unpredicted(self, found: PredictedCell) -> str: ...
    def difference(self, found: Differs) -> tuple[str, str, str]: ...


WORDS: Mapping[Language, Words] = {"en": english, "ja": japanese}
