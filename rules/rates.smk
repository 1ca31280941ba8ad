"""What each type of weights costs on a device: what a budget of time is spent by.

Rates are made once and shared by all studies. Measured anew they make other files, if only by their
noise. So a device that is made ready anew, or sent its file again, is no reason to: its receipts are
`ancient`. But whatever follows from a job that runs, through such inputs too, Snakemake does not ask
for reasons of its own. So all reasons are the inputs and parameters of a rule that has no receipt.
"""


rule ask_for_rates:
    """What rates are of: as long as it is the same, they are."""
    output:
        asked=layout.RATES_ASKED,
    log:
        "logs/ask_for_rates/{device}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("measure_rates"),
        how=lambda w: settings.rating(study, w.device),
        quant=RATED_WITH,
        engine=engine_there,
    message:
        "Asking for rates of {wildcards.device}"
    script:
        "../workflow/scripts/ask_for_rates.py"


rule measure_rates:
    """A model's matrices in every type, each multiplied, and the tokens of a file of one of them."""
    input:
        asked=layout.RATES_ASKED,
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
        gguf=ancient(lambda w: inputs.rated_with(layout.GGUF, w.model)),
        receipt=ancient(lambda w: inputs.rated_with(layout.RECEIPT, w.model, w.device)),
        provisioned=ancient(layout.PROVISIONED),
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
    message:
        "Timing types of weights for {wildcards.model} on {wildcards.device}"
    script:
        "../workflow/scripts/measure_rates.py"
