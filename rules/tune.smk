"""Faster settings of the engine, searched on the device."""


rule tune_runtime:
    """The settings of a runtime with `tune: true`, for a variant on a device; none is a result too."""
    input:
        code=code(
            "tune_runtime",
            "quality/parity",
            "remote/benchmark",
            "remote/deploy",
            "remote/plugs",
            "remote/tune",
            "device/measure/turn_process",
            *TUNE_MODULES,
            *DEVICE_MODULES,
        ),
        gguf=ancient(layout.GGUF),
        receipt=layout.RECEIPT,
        provisioned=layout.PROVISIONED,
    output:
        tuned=layout.TUNED,
    log:
        "logs/tune_runtime/{study}/{device}/{model}/{quant}/{runtime}.log",
    wildcard_constraints:
        runtime=any_of(r for r, spec in study.runtimes.items() if spec.tune),
    conda:
        "../envs/workstation.yaml"
    threads: device_threads
    resources:
        **BENCHMARK_SLOTS,
    params:
        spec=tune_spec,
        kept=layout.TUNE_BLOCKS,
    message:
        "Tuning {wildcards.model} {wildcards.quant} on {wildcards.device} ({wildcards.runtime})"
    script:
        "../workflow/scripts/tune_runtime.py"
