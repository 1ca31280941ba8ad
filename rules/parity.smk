"""Parity: whether a device's engine computes the model whose quality the workstation scored."""


rule predict_on_workstation:
    """What the workstation predicts for the fixed text, once for all devices."""
    input:
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
    output:
        predictions=layout.PREDICTIONS,
    log:
        "logs/predict_on_workstation/{model}/{quant}.log",
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **scoring(lambda wildcards, input: 0),
    params:
        code=code("predict_on_workstation"),
        engine=ENGINE,
    message:
        "Predicting the parity text with {wildcards.model} {wildcards.quant}"
    script:
        "../workflow/scripts/predict_on_workstation.py"


rule check_parity:
    """The same on the device, held against it; short, so a broken link is met by another try."""
    input:
        predictions=layout.PREDICTIONS,
        gguf=ancient(layout.GGUF),
        receipt=layout.RECEIPT,
        provisioned=layout.PROVISIONED,
    output:
        parity=layout.PARITY,
    log:
        "logs/check_parity/{study}/{device}/{model}/{quant}.log",
    retries: 2
    localrule: True
    conda:
        "../envs/workstation.yaml"
    resources:
        **DEVICE_SLOTS,
    params:
        code=code("check_parity"),
        how=lambda w: settings.predicting(study, w.device),
    message:
        "Checking parity of {wildcards.model} {wildcards.quant} on {wildcards.device}"
    script:
        "../workflow/scripts/check_parity.py"
