"""Modules that several rules have in common, as their inputs (see `code`). No rules."""

# The modules that run on a device.
DEVICE_MODULES = [
    "device/bandwidth",
    "device/block",
    "device/cell",
    "device/cli",
    "device/concurrent",
    "device/energy",
    "device/engine",
    "device/engine_info",
    "device/environment",
    "device/jobs",
    "device/limits",
    "device/lock",
    "device/lookup",
    "device/measure",
    "device/memory",
    "device/meters",
    "device/parity",
    "device/sampler",
    "device/say",
    "device/store",
    "device/supervise",
    "device/text",
    "device/workload",
]

# What else runs on a device, beside a service; no measurement depends on it.
SERVICE_MODULES = [
    "device/answers",
    "device/canary",
    "device/canary_metrics",
    "device/exposition",
    "device/gate",
    "device/machine_metrics",
    "device/metering",
    "device/monitor",
    "device/releases",
    "device/request_metrics",
    "device/requests",
    "device/serve",
]

# The modules that bring the records together, and what would have been predicted.
SUMMARY_MODULES = [
    "decide/architectures",
    "decide/header",
    "decide/known",
    "decide/pareto",
    "decide/predict",
    "decide/presets",
    "decide/sizes",
    "device/energy",
    "device/meters",
    "gguf/contents",
    "gguf/ggml",
    "gguf/quantizers",
    "hub",
    "quality/comparisons",
    "quality/statistics",
    "report/cells",
    "report/columns",
    "report/concurrency",
    "report/curves",
    "report/groups",
    "report/llama_bench",
    "report/lookup",
    "report/paper",
    "report/paper_method",
    "report/parquet",
    "report/predictions",
    "report/summary",
    "report/tuned",
]

# The modules that train.
TRAIN_MODULES = [
    "device/engine",
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
