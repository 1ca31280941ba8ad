"""Faster settings of the engine, searched on the device."""


rule tune_runtime:
    """The settings of a runtime with `tune: true`, for a variant on a device; none is a result too."""
    input:
        gguf=ancient(layout.GGUF),
        receipt=layout.RECEIPT,
        provisioned=layout.PROVISIONED,
    output:
        tuned=layout.TUNED,
    log:
        "logs/tune_runtime/{study}/{device}/{model}/{quant}/{runtime}.log",
    wildcard_constraints:
        runtime=any_of(r for r, spec in study.runtimes.items() if spec.tune),
    localrule: True
    conda:
        "../envs/workstation.yaml"
    threads: device_threads
    resources:
        **BENCHMARK_SLOTS,
    params:
        code=code("tune_runtime"),
        search=lambda w: settings.search(study, session_of(w)),
        engine=engine_there,
        kept=layout.TUNE_BLOCKS,
    message:
        "Tuning {wildcards.model} {wildcards.quant} on {wildcards.device} ({wildcards.runtime})"
    script:
        "../workflow/scripts/tune_runtime.py"
