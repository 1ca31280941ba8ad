"""Speed, measured on the device."""


rule benchmark_device:
    """All workloads of a variant on a device, their order mixed; an engine's crash is a result."""
    input:
        code=lambda w: code("benchmark_device", measured_by(w)),
        gguf=ancient(layout.GGUF),
        receipt=layout.RECEIPT,
        provisioned=layout.PROVISIONED,
        tuned=lambda w: inputs.tuned(study, session_of(w)),
        draft=ancient(lambda w: inputs.draft(layout.GGUF, study, session_of(w))),
        draft_receipt=lambda w: inputs.draft(layout.RECEIPT, study, session_of(w)),
    output:
        bench=layout.BENCH,
    log:
        "logs/benchmark_device/{study}/{device}/{model}/{quant}/{runtime}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    threads: device_threads
    resources:
        **BENCHMARK_SLOTS,
    params:
        session=lambda w: settings.session(study, session_of(w)),
        engine=engine_there,
        measured_by=measured_by,
    message:
        "Measuring {wildcards.model} {wildcards.quant} on {wildcards.device} ({wildcards.runtime})"
    script:
        "../workflow/scripts/benchmark_device.py"
