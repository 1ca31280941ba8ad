"""Modules that several rules have in common, as their inputs (see `code`). No rules."""

# The modules that run on a device.
DEVICE_MODULES = [
    "device/measure/bandwidth",
    "device/measure/turns",
    "device/measure/session",
    "device/cli",
    "device/measure/concurrent",
    "device/machine/energy",
    "engine/llama",
    "engine/info",
    "device/machine/environment",
    "device/measure/detached",
    "device/machine/limits",
    "device/machine/alone",
    "engine/prompt_lookup",
    "device/measure/process",
    "device/measure/memory",
    "device/machine/meters",
    "device/measure/parity",
    "device/machine/sampler",
    "engine/progress",
    "device/store",
    "engine/supervise",
    "engine/fixed_text",
    "device/measure/single",
]

# What else runs on a device, beside a service; no measurement depends on it.
SERVICE_MODULES = [
    "engine/answers",
    "device/monitor/canary",
    "device/monitor/canary_metrics",
    "device/monitor/exposition",
    "device/service/gate",
    "device/monitor/machine_metrics",
    "device/monitor/meter_metrics",
    "device/monitor/process",
    "device/service/releases",
    "device/service/request_metrics",
    "device/service/request_check",
    "device/service/serve",
]

# The modules that bring the records together, and what would have been predicted.
SUMMARY_MODULES = [
    "plan/architectures",
    "plan/gguf_header",
    "plan/model_facts",
    "summary/estimate",
    "plan/predict",
    "plan/presets",
    "plan/sizes",
    "device/machine/energy",
    "device/machine/meters",
    "gguf/contents",
    "gguf/ggml",
    "gguf/quantizers",
    "hub",
    "summary/comparisons",
    "quality/statistics",
    "summary/row",
    "summary/columns",
    "summary/concurrency",
    "summary/curves",
    "summary/groups",
    "summary/llama_bench",
    "summary/prompt_lookup",
    "summary/paper",
    "summary/paper_method",
    "summary/parquet",
    "summary/predictions",
    "summary/study",
    "summary/tuned",
]

# The modules that train.
TRAIN_MODULES = [
    "engine/llama",
    "gguf/contents",
    "gguf/ggml",
    "gguf/imatrix",
    "gguf/inspect",
    "gguf/quantize",
    "gguf/quantizers",
    "train/__main__",
    "train/export",
    "train/fake_quant",
    "train/llama",
    "train/loss",
    "train/qat",
    "train/student",
    "train/text",
    "train/trainer",
]

# The modules that search for settings.
TUNE_MODULES = [
    "tune/interval",
    "tune/ledger",
    "tune/looks",
    "tune/proposals",
    "tune/remaining",
    "tune/search",
    "tune/space",
    "tune/winner",
]
