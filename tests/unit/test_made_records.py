"""What tests make up is what the product writes: held against its types, as real records are
(`test_real_records.py`, `tests/integration/test_local.py`)."""

import json
from collections.abc import Mapping

import made_records as made
import pytest

from llmpi.engine.records import SessionRecord
from llmpi.gguf.records import Gguf
from llmpi.models.records import ModelRecord
from llmpi.quality.ab.records import AbAnswered
from llmpi.quality.divergence.records import DivergenceScored, DivergenceSummary, Estimate
from llmpi.quality.records import Parity
from llmpi.quality.squad.records import Questions, SquadScored
from llmpi.records import check
from llmpi.remote.records import Provisioned
from llmpi.summary import row
from llmpi.summary.records import CellEnergy, ClassRow, File, Roofline, Speed
from llmpi.tune.records import Refusal, Tuned

CHAT = made.cell([made.repetition(1.0, [0.1] * 4)], energy=made.metered(8.0, 0.8))
USERS = made.concurrent_cell(
    made.side_by_side((2, 8)),
    {
        2: {
            "system_s": 0.0,
            "start_s": 100.0,
            "pp_s": 1.0,
            "ttft_each_s": [1.0, 2.0],
            "ttft_s": 2.0,
            "itl_s": [0.1] * 4,
        }
    },
    lost="no memory",
)
TALK = made.conversation_cell(
    made.conversation(("kept", "restored")), {"kept": [made.talk([2.0, 1.0])]}, lost="a full disk"
)
ABOUT: Estimate = {"value": 1.0, "standard_error": None}
DIVERGED: DivergenceSummary = {
    "perplexity": ABOUT,
    "reference_perplexity": ABOUT,
    "ln_perplexity_ratio": ABOUT,
    "perplexity_ratio": ABOUT,
    "kld_mean_nats": ABOUT,
    "kld_median_nats": ABOUT,
    "kld_p99_nats": ABOUT,
    "top1_agreement_pct": ABOUT,
}
DIED: Refusal = {"kind": "died", "reason": "it died"}
MADE = [
    (made.session({"chat": CHAT, "users": USERS, "talk": TALK}), SessionRecord),
    (made.failed("the engine died"), SessionRecord),
    (made.gguf("Q4_0", fallbacks=1), Gguf),
    (made.model(), ModelRecord),
    (made.questions(), Questions),
    (made.squad([made.item(0, 0, 1.0), made.item(1, 1, 0.0, answerable=False)]), SquadScored),
    (made.divergence(DIVERGED), DivergenceScored),
    (made.answered(60.0), AbAnswered),
    (made.provisioned("pi"), Provisioned),
    (made.parity("another model"), Parity),
    (made.tuned(trials=[made.trial("mmap: False", None, DIED)]), Tuned),
    (made.row(qa=made.squad_row(60.0, loss=1.0, verdict="worse")), ClassRow),
]


@pytest.mark.parametrize(("record", "kind"), MADE, ids=lambda part: getattr(part, "__name__", ""))
def test_what_is_made_up_is_of_its_type(record: Mapping[str, object], kind: type) -> None:
    assert check(json.dumps(record), kind, "made up")


@pytest.mark.parametrize("part", [Speed, Roofline, CellEnergy, File])
def test_every_part_of_a_row_may_be_unknown(part: type) -> None:
    assert check(json.dumps(row._nothing(part)), part, "nothing")
