"""Quality, scored on the workstation, once per variant and computation."""


rule prepare_questions:
    """The questions of a task, drawn once, the same for every variant."""
    input:
        file=lambda w: inputs.named(study.quality[w.task], "squad_file"),
    output:
        questions=layout.QUESTIONS,
    log:
        "logs/prepare_questions/{study}/{task}.log",
    wildcard_constraints:
        task=any_of(inputs.tasks_of(study, "squad")),
    retries: 2
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("prepare_questions"),
        spec=lambda w: settings.questions(study, w.task, SOURCES_LOCK),
    script:
        "../workflow/scripts/prepare_questions.py"


rule evaluate_quality:
    """Score a variant on a task, every answer kept."""
    input:
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        questions=layout.QUESTIONS,
        reference=lambda w: inputs.reference(study, scored_of(w), w.task),
        wider=lambda w: inputs.wider(study, scored_of(w), w.task),
        by_default=lambda w: inputs.by_default(study, scored_of(w), w.task),
    output:
        quality=layout.QUALITY,
    log:
        "logs/evaluate_quality/{study}/{model}/{quant}/{computation}/{task}.log",
    wildcard_constraints:
        task=any_of(inputs.squad_tasks(study, sharded=False)),
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **scoring(question_tokens),
    params:
        code=code("evaluate_quality"),
        spec=lambda w: settings.answers(study, w.model, w.task, w.computation),
        engine=ENGINE,
        store=layout.BLOCKS,
    message:
        "Scoring {wildcards.model} {wildcards.quant} ({wildcards.computation}): {wildcards.task}"
    script:
        "../workflow/scripts/evaluate_quality.py"


rule answer_shard:
    """A part of the answers of a variant: some blocks of the task."""
    input:
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        questions=layout.QUESTIONS,
    output:
        shard=layout.SHARD,
    log:
        "logs/answer_shard/{study}/{model}/{quant}/{computation}/{task}/{shard}.log",
    wildcard_constraints:
        task=any_of(inputs.squad_tasks(study, sharded=True)),
        shard=r"\d+-of-\d+",
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **scoring(question_tokens),
    params:
        code=code("answer_shard"),
        spec=lambda w: settings.shard(study, w.model, w.task, w.computation, w.shard),
        engine=ENGINE,
        store=layout.BLOCKS,
    message:
        "Answering {wildcards.task} with {wildcards.model} {wildcards.quant} ({wildcards.computation}): {wildcards.shard}"
    script:
        "../workflow/scripts/answer_shard.py"


rule merge_shards:
    """The record of a task from its shards, as one job would have written it."""
    input:
        manifest=layout.GGUF_MANIFEST,
        questions=layout.QUESTIONS,
        shards=lambda w: inputs.shards(study, scored_of(w), w.task),
    output:
        quality=layout.QUALITY,
    log:
        "logs/merge_shards/{study}/{model}/{quant}/{computation}/{task}.log",
    wildcard_constraints:
        task=any_of(inputs.squad_tasks(study, sharded=True)),
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("merge_shards"),
        spec=lambda w: settings.answers(study, w.model, w.task, w.computation),
        engine=ENGINE,
    message:
        "Scoring {wildcards.model} {wildcards.quant} ({wildcards.computation}): {wildcards.task}"
    script:
        "../workflow/scripts/merge_shards.py"


rule ask_endpoint:
    """The questions over HTTP, to an engine that is not llmpi's; asked from the device."""
    input:
        questions=layout.QUESTIONS,
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        provisioned=layout.PROVISIONED,
    output:
        asked=layout.ASKED,
    log:
        "logs/ask_endpoint/{study}/{device}/{model}/{quant}/{runtime}/{task}.log",
    wildcard_constraints:
        task=any_of(study.squad_tasks),
    retries: 2
    localrule: True
    conda:
        "../envs/workstation.yaml"
    resources:
        **DEVICE_SLOTS,
    params:
        code=code("ask_endpoint"),
        spec=lambda w: settings.asking(study, session_of(w), w.task),
    message:
        "Asking {wildcards.runtime} on {wildcards.device}, {wildcards.model} {wildcards.quant}: {wildcards.task}"
    script:
        "../workflow/scripts/ask_endpoint.py"
