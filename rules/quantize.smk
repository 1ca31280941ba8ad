"""GGUF files: the F16 base of a model, its importance matrix, and its quantizations."""


rule convert_to_gguf:
    """Bring a model to F16, the base of its quantizations."""
    input:
        code=code(
            "convert_to_gguf",
            "gguf/convert",
            "gguf/checkpoint",
            "gguf/converter",
            "gguf/engine_source",
            "gguf/hf_to_gguf",
            "gguf/ggml",
            "gguf/imatrix",
            "gguf/quantize",
            "gguf/inspect",
        ),
        model=layout.MODEL_MANIFEST,
        # It names the sources that hold the converter; another package's new version changes nothing.
        lock=ancient(project("envs/workstation.lock")),
    output:
        gguf=layout.BASE_GGUF,
        manifest=layout.BASE_MANIFEST,
    log:
        f"logs/convert_to_gguf/{{model}}/{layout.BASE_QUANT}.log",
    wildcard_constraints:
        model=any_of(models_from(scratch=False)),
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **quantizing(fetched_bytes),
    message:
        "Converting {wildcards.model} to F16"
    script:
        "../workflow/scripts/convert_to_gguf.py"


rule calibrate:
    """The importance matrix of a model: what its weights meet while it reads a text."""
    input:
        code=code(
            "calibrate",
            "gguf/calibrate",
            "gguf/ggml",
            "gguf/imatrix",
            "gguf/moments",
            "quality/divergence/log_probs",
            "quality/divergence/windows",
            "engine/llama",
        ),
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
        corpus=corpus_of("calibration"),
    output:
        imatrix=layout.IMATRIX,
        manifest=layout.IMATRIX_MANIFEST,
    log:
        "logs/calibrate/{model}.log",
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **scoring(calibration_tokens, "base_manifest"),
    params:
        chunks=study.calibration.chunks if study.calibration else None,
    message:
        "Calibrating {wildcards.model}"
    script:
        "../workflow/scripts/calibrate.py"


rule quantize_gguf:
    """Quantize a model; the manifest says what it really became."""
    input:
        code=code("quantize_gguf", "gguf/quantize", "gguf/inspect", "gguf/ggml", "gguf/imatrix"),
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
        imatrix=imatrix_files,
    output:
        gguf=layout.GGUF,
        manifest=layout.GGUF_MANIFEST,
    log:
        "logs/quantize_gguf/{model}/{quant}.log",
    wildcard_constraints:
        quant=any_of(q for q in QUANTS if q != layout.BASE_QUANT and not is_trained(q)),
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **quantizing(file_bytes("base")),
    message:
        "Quantizing {wildcards.model} to {wildcards.quant}"
    script:
        "../workflow/scripts/quantize_gguf.py"
