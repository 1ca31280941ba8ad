"""What a plug says is kept as it comes, until the measurement is over."""

import threading
from pathlib import Path

from llmpi.remote.plugs import Sampled
from llmpi.study.meters import ShellyMeter

METER = ShellyMeter(kind="shelly", url="http://plug")


def test_an_answer_behind_the_end_brings_back_no_file(tmp_path: Path) -> None:
    """A plug that is slow to answer: what is forgotten meanwhile stays so."""
    kept = tmp_path / "kept"
    asked, answers, again = threading.Event(), threading.Event(), iter([False, True])

    def read() -> tuple[float, None]:
        if next(again):
            asked.set()
            assert answers.wait(60)
        return 5.0, None

    sampled = Sampled(METER, kept)
    polling = threading.Thread(target=sampled.poll, args=[read, 0.0])
    polling.start()
    assert asked.wait(60)
    assert len(kept.read_text().splitlines()) == 1
    sampled.stop()
    sampled.forget()
    answers.set()
    polling.join(60)
    assert not kept.exists()
