"""Whether a device has the memory for what it is asked to serve: said before it is touched."""

import logging

from llmpi.errors import LlmpiError
from llmpi.operate.release import Release, service_of
from llmpi.plan.model import Model
from llmpi.plan.plan import board_of
from llmpi.plan.serving import serving
from llmpi.quant_types import PUBLISHED
from llmpi.study.measuring import Runtime
from llmpi.study.service import ServedVariant
from llmpi.study.study import Study

log = logging.getLogger(__name__)


def check(study: Study, name: str, release: Release) -> None:
    """Nothing where nothing is known of the device: it was never measured, and names no preset.

    Raises:
        LlmpiError: the kernel would end the service there, and what of it would fit.
    """
    board, settings = board_of(study, name), release.settings
    if board is None:
        return
    model = Model(release.gguf, str(release.gguf))
    served = ServedVariant(model=settings["model"], quant=settings["quant"])
    runtime = Runtime.model_validate(settings["runtime"])
    try:
        size = model.sizes(PUBLISHED)
        found = serving(name, service_of(study), served, model, size, board, runtime)
    except LlmpiError as error:  # the service's own start tells more
        log.warning("device %s: what the service takes there is not known: %s", name, error)
        return
    if found.problem and found.fit == "dies":
        raise LlmpiError(found.problem)
    if found.problem:
        log.warning("%s", found.problem)
