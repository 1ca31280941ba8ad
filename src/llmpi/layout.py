"""Where every file lives: the only module that spells a path under `results/`.

Patterns hold wildcards in braces, as Snakemake takes them; `at` fills them. One wildcard per
directory level or file name, so that `qwen_2.5` and `q4_k_m` can never be read apart wrongly.
"""

from llmpi import __version__

WHEEL = f"results/wheel/llmpi-{__version__}-py3-none-any.whl"

MODEL_MANIFEST = "results/models/{model}/manifest.json"

QUESTIONS = "results/questions/{study}/{task}.json"

BASE_QUANT = "F16"
GGUF = "results/gguf/{model}/{quant}.gguf"
GGUF_MANIFEST = "results/gguf/{model}/{quant}.json"
BASE_GGUF = GGUF.replace("{quant}", BASE_QUANT)
BASE_MANIFEST = GGUF_MANIFEST.replace("{quant}", BASE_QUANT)

START_GGUF = "results/gguf/{model}/start.gguf"
START_MANIFEST = "results/gguf/{model}/start.json"
IMATRIX = "results/imatrix/{model}.gguf"
IMATRIX_MANIFEST = "results/imatrix/{model}.json"
RATES = "results/rates/{device}/{model}.json"
RATES_ASKED = "results/rates_asked/{device}.json"
MIX = "results/mix/{model}/{quant}.json"
PROBE = "results/probe/{model}/{quant}.json"
CHECKPOINTS = "results/training/{model}/{quant}"

LOCAL_STORE = "results/store/{device}"
ENGINES = "results/engines"
PROVISIONED = "results/devices/{device}.json"
DEVICES_CHECK = "results/devices/{study}/check.txt"
RECEIPT = "results/deploy/{device}/{model}/{quant}.json"

BENCH = "results/bench/{study}/{device}/{model}/{quant}/{runtime}.json"
TUNED = "results/tune/{study}/{device}/{model}/{quant}/{runtime}.json"
TUNE_BLOCKS = "results/tune/{study}/{device}/{model}/{quant}/{runtime}.blocks"
INSTALLED_ENGINES = "results/installed/{study}/{device}.json"
BY_ENGINE = "results/by_engine/{study}/{device}/{model}/{quant}/{runtime}.json"
BY_ENGINE_BLOCKS = "results/by_engine/{study}/{device}/{model}/{quant}/{runtime}.blocks"
AB = "results/ab/{study}/{task}/{pair}.json"
AB_SHEET = "results/ab/{study}/{task}/{pair}.html"
AB_KEY = "results/ab/{study}/{task}/{pair}.key.json"
PREDICTIONS = "results/predictions/{model}/{quant}.json"
PARITY = "results/parity/{study}/{device}/{model}/{quant}.json"
CORPUS = "results/corpora/{study}/{task}.json"
REFERENCE_ROWS = "results/reference/{study}/{model}/{task}.rows"
REFERENCE = "results/reference/{study}/{model}/{task}.json"
BLOCKS = "results/blocks/{model}/{quant}"
SHARD = "results/shards/{study}/{model}/{quant}/{computation}/{task}/{shard}.json"
QUALITY = "results/quality/{study}/{model}/{quant}/{computation}/{task}.json"
SAMPLE = "results/samples/{study}/{model}/{quant}/{workload}.json"
ASKED = "results/asked/{study}/{device}/{model}/{quant}/{runtime}/{task}.json"

EXPECTATION = "results/expectation/{study}/{device}/{model}/{quant}/{runtime}.json"
SERVICE = "results/service/{study}/{device}.json"

SUMMARY_CSV = "results/report/{study}/summary.csv"
SUMMARY_PARQUET = "results/report/{study}/summary.parquet"
SPEED_JSONL = "results/report/{study}/speed.jsonl"
SUMMARY_JSON = "results/report/{study}/summary.json"
REQUIREMENTS = "results/report/{study}/requirements.json"
RECOMMENDATION = "results/report/{study}/recommendation.json"
MEMO_MD = "results/report/{study}/memo.{language}.md"
MEMO_PDF = "results/report/{study}/memo.{language}.pdf"
PAGE = "results/report/{study}/index.html"

# Somebody else's study: what `llmpi export` wrote, laid beside one's own, with paths as above.
IMPORTED = "results/imported/{name}"
CRATE_MANIFEST = f"{IMPORTED}/manifest.json"

# Not a result: beside the config, kept under version control.
SOURCES_LOCK = "sources.lock.yaml"


def at(pattern: str, **wildcards: str) -> str:
    """`pattern` with its wildcards filled.

    Raises:
        KeyError: a wildcard of the pattern is not given.
    """
    return pattern.format(**wildcards)
