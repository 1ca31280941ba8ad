"""What a config says of training is what training takes."""

from dataclasses import asdict

from llmpi.study import Training
from llmpi.train.settings import Qat, settings


def test_a_config_has_the_settings_and_their_defaults() -> None:
    assert Training().model_dump() == asdict(Qat())


def test_what_a_config_says_reaches_the_training() -> None:
    given = Training(steps=3, sequences=6, accumulation=2, distill=False).model_dump()
    assert asdict(settings(given)) == given
