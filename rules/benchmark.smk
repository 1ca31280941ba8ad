"""Speed, measured on the device."""


rule sample_questions:
    """Some questions of a task, drawn and as a variant is asked them, for devices to answer."""
    input:
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        questions=lambda w: inputs.sampled(study, w.workload),
    output:
        sample=layout.SAMPLE,
    log:
        "logs/sample_questions/{study}/{model}/{quant}/{workload}.log",
    wildcard_constraints:
        workload=any_of(study.answer_workloads),
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("sample_questions"),
        spec=lambda w: settings.sample(study, w.model, w.workload),
        engine=ENGINE,
    message:
        "Drawing questions for {wildcards.model} {wildcards.quant}: {wildcards.workload}"
    script:
        "../workflow/scripts/sample_questions.py"


rule benchmark_device:
    """All workloads of a variant on a device, their order mixed; an engine's crash is a result."""
    input:
        gguf=ancient(layout.GGUF),
        receipt=layout.RECEIPT,
        provisioned=layout.PROVISIONED,
        tuned=lambda w: inputs.tuned(study, session_of(w)),
        samples=lambda w: inputs.samples(study, session_of(w)),
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
        code=lambda w: code("benchmark_device", measured_by(w)),
        session=lambda w: settings.session(study, session_of(w)),
        engine=engine_there,
        measured_by=measured_by,
    message:
        "Measuring {wildcards.model} {wildcards.quant} on {wildcards.device} ({wildcards.runtime})"
    script:
        "../workflow/scripts/benchmark_device.py"
