"""Engines held against one another on a device; nothing else is measured or decided with them."""


rule install_engines:
    """Every engine of the comparison on a device; one that cannot be run as llmpi runs it is refused."""
    input:
        provisioned=layout.PROVISIONED,
        wheels=inputs.engine_wheels(study),
    output:
        installed=layout.INSTALLED_ENGINES,
    log:
        "logs/install_engines/{study}/{device}.log",
    retries: 1
    localrule: True
    conda:
        "../envs/workstation.yaml"
    resources:
        **DEVICE_SLOTS,
    params:
        code=code("install_engines"),
        how=lambda w: settings.engines(study, w.device),
        engine=engine_there,
        cache=layout.ENGINES,
    message:
        "Installing the engines to compare on device {wildcards.device}"
    script:
        "../workflow/scripts/install_engines.py"


rule compare_engines:
    """All engines in turns, block by block in mixed order; one that dies is a result."""
    input:
        gguf=ancient(layout.GGUF),
        receipt=layout.RECEIPT,
        provisioned=layout.PROVISIONED,
        installed=layout.INSTALLED_ENGINES,
        tuned=lambda w: inputs.tuned(study, session_of(w)),
    output:
        compared=layout.BY_ENGINE,
    log:
        "logs/compare_engines/{study}/{device}/{model}/{quant}/{runtime}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    threads: device_threads
    resources:
        **BENCHMARK_SLOTS,
    params:
        code=code("compare_engines"),
        comparison=lambda w: settings.comparison(study, session_of(w)),
        engine=engine_there,
        kept=layout.BY_ENGINE_BLOCKS,
    message:
        "Comparing engines with {wildcards.model} {wildcards.quant} on {wildcards.device} ({wildcards.runtime})"
    script:
        "../workflow/scripts/compare_engines.py"
