"""GGUF files: the F16 base of a model, its importance matrix, and its quantizations."""


rule convert_to_gguf:
    """Bring a model to F16, the base of its quantizations."""
    input:
        model=layout.MODEL_MANIFEST,
        # It names the sources that hold the converter; another package's new version changes nothing.
        lock=ancient(project("envs/workstation.lock")),
    output:
        gguf=layout.BASE_GGUF,
        manifest=layout.BASE_MANIFEST,
    log:
        f"logs/convert_to_gguf/{{model}}/{layout.BASE_QUANT}.log",
    wildcard_constraints:
        model=any_of(inputs.models(study, from_scratch=False)),
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **quantizing(fetched_bytes, needs.converting_mb),
    params:
        code=code("convert_to_gguf"),
        engine=ENGINE,
    message:
        "Converting {wildcards.model} to F16"
    script:
        "../workflow/scripts/convert_to_gguf.py"


rule publish_gguf:
    """A file of the model's source as it is: a variant beside those that are made of it."""
    input:
        model=layout.MODEL_MANIFEST,
    output:
        gguf=layout.GGUF,
        manifest=layout.GGUF_MANIFEST,
    log:
        "logs/publish_gguf/{model}/{quant}.log",
    wildcard_constraints:
        quant=any_of(filter(is_published, QUANTS)),
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("publish_gguf"),
    message:
        "Taking {wildcards.model} {wildcards.quant}"
    script:
        "../workflow/scripts/publish_gguf.py"


rule calibrate:
    """The importance matrix of a model: what its weights meet while it reads a text."""
    input:
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
        corpus=layout.at(layout.CORPUS, study=study.study, task="calibration"),
    output:
        imatrix=layout.IMATRIX,
        manifest=layout.IMATRIX_MANIFEST,
    log:
        "logs/calibrate/{model}.log",
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **scoring(calibration_tokens, "base_manifest", text_mb=needs.READ_TEXT_MB),
    params:
        code=code("calibrate"),
        chunks=study.calibration.chunks if study.calibration else None,
        engine=ENGINE,
    message:
        "Calibrating {wildcards.model}"
    script:
        "../workflow/scripts/calibrate.py"


rule search_mix:
    """Which type each group of tensors of a mix gets, so that its budget is best spent."""
    input:
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
        corpus=layout.at(layout.CORPUS, study=study.study, task="calibration"),
        imatrix=lambda w: inputs.imatrix(w.model, w.quant),
        rates=lambda w: inputs.rates(w.model, w.quant),
    output:
        mix=layout.MIX,
    log:
        "logs/search_mix/{model}/{quant}.log",
    wildcard_constraints:
        quant=any_of(filter(is_mix, QUANTS)),
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **searching(),
    params:
        code=code("search_mix"),
        types=settings.mixing(study)["types"],
        windows=settings.mixing(study)["windows"],
        engine=ENGINE,
    message:
        "Searching the types of {wildcards.model} {wildcards.quant}"
    script:
        "../workflow/scripts/search_mix.py"


rule quantize_gguf:
    """Quantize a model; the manifest says what it really became."""
    input:
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
        imatrix=lambda w: inputs.imatrix(w.model, w.quant),
        mix=lambda w: inputs.mix(w.model, w.quant),
    output:
        gguf=layout.GGUF,
        manifest=layout.GGUF_MANIFEST,
    log:
        "logs/quantize_gguf/{model}/{quant}.log",
    wildcard_constraints:
        quant=any_of(QUANTIZED),
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **quantizing(file_bytes("base"), needs.quantizing_mb),
    params:
        code=code("quantize_gguf"),
        engine=ENGINE,
    message:
        "Quantizing {wildcards.model} to {wildcards.quant}"
    script:
        "../workflow/scripts/quantize_gguf.py"
