"""What each type of weights costs on a device: what a budget of time is spent by.

Rates are made once and shared by all studies. Measured anew they make other files, if only by their
noise. What is no reason to is no parameter of the rule. (No receipt is `ancient`: whatever follows
from a job that runs, through such inputs too, Snakemake does not ask for reasons of its own.)
"""


rule measure_rates:
    """A model's matrices in every type, each multiplied, and the tokens of a file of one of them."""
    input:
        code=code("measure_rates"),
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
        gguf=ancient(lambda w: inputs.rated_with(layout.GGUF, w.model)),
        receipt=lambda w: inputs.rated_with(layout.RECEIPT, w.model, w.device),
        provisioned=layout.PROVISIONED,
    output:
        rates=layout.RATES,
    log:
        "logs/measure_rates/{device}/{model}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    threads: device_threads
    resources:
        **BENCHMARK_SLOTS,
    params:
        how=lambda w: settings.rating(study, w.device),
        quant=RATED_WITH,
        engine=engine_there,
    message:
        "Timing types of weights for {wildcards.model} on {wildcards.device}"
    script:
        "../workflow/scripts/measure_rates.py"
