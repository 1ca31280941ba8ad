"""For all tests: no property is judged by the clock; these machines are noisy."""

from forks import settled
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    settled()
