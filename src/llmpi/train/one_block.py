"""A transformer block whose weights learn to be quantized."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from llmpi.errors import CellError
from llmpi.study.training import Training
from llmpi.train.blocks.steps import Lesson, Output, apart, batches
from llmpi.train.student import Student
from llmpi.train.updates import optimizer_of, update


class StudentBlock:
    """
    Args:
        weights: float32, by their part of the block; they are trained in place.
        kinds: the type of each in the file that will be made.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        kinds: Mapping[str, str],
        output: Output,
        settings: Training,
    ) -> None:
        self._student = Student(weights, kinds)
        self._output, self._settings = output, settings

    @property
    def seen(self) -> dict[str, Tensor]:
        return self._student.seen

    def learn(self, lesson: Lesson) -> None:
        """See `llmpi.train.blocks.walk.Learning`.

        Raises:
            CellError: the loss is no number any more.
        """
        settings, student = self._settings, self._student
        optimizer = optimizer_of(student, settings)
        chosen = batches(lesson.windows, settings.steps, lesson.seed, each=settings.sequences)
        for step, some in enumerate(chosen):
            student.drop_gradients()
            total = 0.0
            for part in some.chunk(settings.accumulation):
                loss = apart(self._output(student.seen, lesson.states[part]), lesson.targets[part])
                (loss / settings.accumulation).backward()
                total += loss.item() / settings.accumulation
            if not math.isfinite(total):
                raise CellError(
                    f"the training loss is {total} in step {step + 1}: take a smaller learning_rate"
                )
            update(student, optimizer, settings, step)
            lesson.said(step + 1, total)
        student.drop_gradients()

    def file_bytes(self) -> dict[str, Tensor]:
        """Copies: some types are what is trained."""
        student = self._student
        found = {part: torch.from_numpy(student.file_bytes(part)) for part in student.trained}
        return {part: data.clone() for part, data in found.items()}
