"""What a plan says a service takes, against what llama-server says it reserves."""

import re
import subprocess
from pathlib import Path

import pytest
from headed import headed
from served_release import SETTINGS
from support import until

from benchmarks.peer import tool
from benchmarks.random_models import make
from llmpi.device.service.engine import command
from llmpi.device.service.records import ServiceSettings
from llmpi.plan.predict import PROCESS_BYTES
from llmpi.plan.presets import PRESETS
from llmpi.plan.serving import serving
from llmpi.study.measuring import Runtime
from llmpi.study.service import ServedVariant, Service

pytestmark = pytest.mark.long
"""They need llama-server, which takes minutes to build where it was not built before."""

SLOTS, CONTEXT_TOKENS, UBATCH = 3, 1024, 64
CACHES = re.compile(r"\w+: size = +([\d.]+) MiB \(")
COMPUTE = re.compile(r"compute buffer size = +([\d.]+) MiB")
MIB = 1024**2


@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen35", "mamba"])
def test_the_engine_reserves_what_was_planned(name: str, tmp_path: Path) -> None:
    """Attention alone, sliding windows, a recurrent hybrid, no attention."""
    gguf = make(name, tmp_path / "m.gguf")
    settings: ServiceSettings = {
        **SETTINGS,
        "slots": SLOTS,
        "context_tokens": CONTEXT_TOKENS,
        "prefix_cache_bytes": 5 * MIB,
    }
    asked = Service(slots=SLOTS, context_tokens=CONTEXT_TOKENS, prefix_cache=5 * MIB)
    runtime = Runtime(threads=1, batch_tokens=UBATCH, ubatch_tokens=UBATCH)
    model, served = headed(gguf), ServedVariant(model="m", quant="F16")
    size = model.sizes("as-published")
    planned = serving("pi", asked, served, model, size, PRESETS["pi5-8gb"], runtime)
    loud = command(Path(tool("llama-server")), gguf, settings, tmp_path / "engine.sock")
    loud[loud.index("--log-verbosity") + 1] = "4"
    log = tmp_path / "log"
    with log.open("w") as file:
        engine = subprocess.Popen(loud, stdout=file, stderr=subprocess.STDOUT)
    try:
        until(lambda: "listening" in log.read_text() or engine.poll() is not None, log.read_text)
    finally:
        engine.kill()
        engine.wait()
    said = log.read_text()
    assert CACHES.search(said), said
    real = sum(float(mib) * MIB for mib in CACHES.findall(said))
    assert planned.context_bytes == pytest.approx(real, abs=0.03 * MIB)
    compute = sum(float(mib) * MIB for mib in COMPUTE.findall(said))
    assert planned.working_bytes - PROCESS_BYTES == pytest.approx(compute, abs=0.03 * MIB)
    assert "prompt cache is enabled, size limit: 5 MiB" in said
    assert planned.prefix_cache_bytes == 5 * MIB
