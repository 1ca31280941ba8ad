"""Perplexity, and divergence from the F16, scored on the workstation once per variant
and computation."""


rule prepare_corpus:
    """The text of a task, the same for every variant."""
    input:
        file=lambda w: inputs.named(settings.texts(study)[w.task], "text_file"),
    output:
        corpus=layout.CORPUS,
    log:
        "logs/prepare_corpus/{study}/{task}.log",
    wildcard_constraints:
        task=any_of(settings.texts(study)),
    retries: 2
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("prepare_corpus"),
        spec=lambda w: settings.corpus(study, w.task, SOURCES_LOCK),
    script:
        "../workflow/scripts/prepare_corpus.py"


rule score_reference:
    """The F16's log-probabilities on a text, once for all variants of a model."""
    input:
        gguf=ancient(layout.BASE_GGUF),
        manifest=layout.BASE_MANIFEST,
        corpus=layout.CORPUS,
    output:
        rows=layout.REFERENCE_ROWS,
        record=layout.REFERENCE,
    log:
        "logs/score_reference/{study}/{model}/{task}.log",
    wildcard_constraints:
        task=any_of(inputs.tasks_of(study, "divergence")),
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **scoring(text_tokens, text_mb=needs.SCORED_TEXT_MB),
    params:
        code=code("score_reference"),
        spec=lambda w: settings.windows(study, w.task),
        engine=ENGINE,
    message:
        "Scoring the reference of {wildcards.model}: {wildcards.task}"
    script:
        "../workflow/scripts/score_reference.py"


rule evaluate_divergence:
    """How far a variant's predictions are from the reference's."""
    input:
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        rows=ancient(layout.REFERENCE_ROWS),
        reference=layout.REFERENCE,
        # Both are behind the variant and its reference: that they are read here reruns nothing more.
        corpus=layout.CORPUS,
        made_with=lambda w: inputs.made_with(study, w.model, w.quant),
    output:
        quality=layout.QUALITY,
    log:
        "logs/evaluate_divergence/{study}/{model}/{quant}/{computation}/{task}.log",
    wildcard_constraints:
        task=any_of(inputs.tasks_of(study, "divergence")),
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **scoring(reference_tokens, text_mb=needs.SCORED_TEXT_MB),
    params:
        code=code("evaluate_divergence"),
        spec=lambda w: settings.computation(w.computation),
        engine=ENGINE,
    message:
        "Scoring {wildcards.model} {wildcards.quant} ({wildcards.computation}): {wildcards.task}"
    script:
        "../workflow/scripts/evaluate_divergence.py"
