"""GGUF files: the F16 base of a model, and its quantizations."""


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
    conda:
        "../envs/workstation.yaml"
    message:
        "Converting {wildcards.model} to F16"
    script:
        "../workflow/scripts/convert_to_gguf.py"


rule quantize_gguf:
    """Quantize a model; the manifest says what it really became."""
    input:
        code=code("quantize_gguf", "gguf/quantize", "gguf/inspect"),
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
    output:
        gguf=layout.GGUF,
        manifest=layout.GGUF_MANIFEST,
    log:
        "logs/quantize_gguf/{model}/{quant}.log",
    wildcard_constraints:
        quant=f"(?!{layout.BASE_QUANT}$)[A-Z0-9_]+",
    conda:
        "../envs/workstation.yaml"
    message:
        "Quantizing {wildcards.model} to {wildcards.quant}"
    script:
        "../workflow/scripts/quantize_gguf.py"
