"""Perplexity, and divergence from the F16, scored on the workstation once per variant."""


rule prepare_corpus:
    """The text of a task, the same for every variant."""
    input:
        code=code("prepare_corpus", "quality/divergence/corpus", "hub"),
        file=lambda wildcards: path_of(TEXTS[wildcards.task], "text_file"),
    output:
        corpus=layout.CORPUS,
    log:
        "logs/prepare_corpus/{study}/{task}.log",
    wildcard_constraints:
        task=any_of(TEXTS),
    retries: 2
    conda:
        "../envs/workstation.yaml"
    params:
        spec=corpus_spec,
    script:
        "../workflow/scripts/prepare_corpus.py"


rule score_reference:
    """The F16's log-probabilities on a text, once for all variants of a model."""
    input:
        code=code(
            "score_reference",
            "quality/divergence/evaluate",
            "quality/divergence/log_probs",
            "quality/divergence/windows",
            "engine/llama",
        ),
        gguf=ancient(layout.BASE_GGUF),
        manifest=layout.BASE_MANIFEST,
        corpus=layout.CORPUS,
    output:
        rows=layout.REFERENCE_ROWS,
        manifest=layout.REFERENCE,
    log:
        "logs/score_reference/{study}/{model}/{task}.log",
    wildcard_constraints:
        task=any_of(tasks_of("divergence")),
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **scoring(text_tokens),
    params:
        spec=window_spec,
    message:
        "Scoring the reference of {wildcards.model}: {wildcards.task}"
    script:
        "../workflow/scripts/score_reference.py"


rule evaluate_divergence:
    """How far a variant's predictions are from the reference's."""
    input:
        code=code(
            "evaluate_divergence",
            "quality/divergence/evaluate",
            "quality/divergence/log_probs",
            "quality/divergence/windows",
            "engine/llama",
        ),
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        rows=ancient(layout.REFERENCE_ROWS),
        reference=layout.REFERENCE,
    output:
        quality=layout.QUALITY,
    log:
        "logs/evaluate_divergence/{study}/{model}/{quant}/{task}.log",
    wildcard_constraints:
        task=any_of(tasks_of("divergence")),
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **scoring(reference_tokens),
    message:
        "Scoring {wildcards.model} {wildcards.quant}: {wildcards.task}"
    script:
        "../workflow/scripts/evaluate_divergence.py"
