"""Quality, scored on the workstation, once per variant."""


rule prepare_questions:
    """The questions of a task, drawn once, the same for every variant."""
    input:
        code=code(
            "prepare_questions",
            "quality/squad/questions",
            "quality/squad/metric",
            "engine/answers",
            "hub",
        ),
        file=lambda wildcards: path_of(study.quality[wildcards.task], "squad_file"),
    output:
        questions=layout.QUESTIONS,
    log:
        "logs/prepare_questions/{study}/{task}.log",
    wildcard_constraints:
        task=any_of(tasks_of("squad")),
    retries: 2
    conda:
        "../envs/workstation.yaml"
    params:
        spec=question_spec,
    script:
        "../workflow/scripts/prepare_questions.py"


rule evaluate_quality:
    """Score a variant on a task, every answer kept."""
    input:
        code=code(
            "evaluate_quality",
            "quality/batching/answer",
            "quality/squad/blocks",
            "quality/batching/chat",
            "quality/squad/descent",
            "quality/batching/engine",
            "quality/squad/evaluate",
            "quality/batching/lanes",
            "quality/squad/prompt",
            "quality/batching/schedule",
            "quality/squad/shards",
            "quality/squad/metric",
            "quality/statistics",
            "quality/squad/stopping",
            "engine/answers",
            "engine/llama",
        ),
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        questions=layout.QUESTIONS,
        reference=reference_record,
        wider=wider_records,
    output:
        quality=layout.QUALITY,
    log:
        "logs/evaluate_quality/{study}/{model}/{quant}/{task}.log",
    wildcard_constraints:
        task=any_of(squad_tasks(sharded=False)),
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **scoring(question_tokens),
    params:
        spec=answer_spec,
        store=layout.BLOCKS,
    message:
        "Scoring {wildcards.model} {wildcards.quant}: {wildcards.task}"
    script:
        "../workflow/scripts/evaluate_quality.py"


rule answer_shard:
    """A part of the answers of a variant: some blocks of the task."""
    input:
        code=code(
            "answer_shard",
            "quality/batching/answer",
            "quality/squad/blocks",
            "quality/batching/chat",
            "quality/batching/engine",
            "quality/batching/lanes",
            "quality/squad/prompt",
            "quality/batching/schedule",
            "quality/squad/shards",
            "quality/squad/metric",
            "engine/answers",
            "engine/llama",
        ),
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        questions=layout.QUESTIONS,
    output:
        shard=layout.SHARD,
    log:
        "logs/answer_shard/{study}/{model}/{quant}/{task}/{shard}.log",
    wildcard_constraints:
        task=any_of(squad_tasks(sharded=True)),
        shard=r"\d+-of-\d+",
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **scoring(question_tokens),
    params:
        spec=shard_spec,
        store=layout.BLOCKS,
    message:
        "Answering {wildcards.task} with {wildcards.model} {wildcards.quant}: {wildcards.shard}"
    script:
        "../workflow/scripts/answer_shard.py"


rule merge_shards:
    """The record of a task from its shards, as one job would have written it."""
    input:
        code=code(
            "merge_shards",
            "quality/batching/answer",
            "quality/squad/blocks",
            "quality/batching/chat",
            "quality/squad/descent",
            "quality/batching/engine",
            "quality/squad/evaluate",
            "quality/batching/lanes",
            "quality/squad/prompt",
            "quality/batching/schedule",
            "quality/squad/shards",
            "quality/squad/metric",
            "quality/statistics",
            "quality/squad/stopping",
            "engine/answers",
            "engine/llama",
        ),
        manifest=layout.GGUF_MANIFEST,
        questions=layout.QUESTIONS,
        shards=shard_records,
    output:
        quality=layout.QUALITY,
    log:
        "logs/merge_shards/{study}/{model}/{quant}/{task}.log",
    wildcard_constraints:
        task=any_of(squad_tasks(sharded=True)),
    conda:
        "../envs/workstation.yaml"
    params:
        spec=answer_spec,
    message:
        "Scoring {wildcards.model} {wildcards.quant}: {wildcards.task}"
    script:
        "../workflow/scripts/merge_shards.py"
