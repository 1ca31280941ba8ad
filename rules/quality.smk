"""Quality, scored on the workstation, once per variant."""


rule prepare_questions:
    """The questions of a task, drawn once, the same for every variant."""
    input:
        code=code(
            "prepare_questions",
            "quality/questions",
            "quality/squad",
            "device/answers",
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
            "quality/answer",
            "quality/chat",
            "quality/descent",
            "quality/engine",
            "quality/evaluate",
            "quality/prompt",
            "quality/schedule",
            "quality/squad",
            "quality/statistics",
            "quality/stopping",
            "device/answers",
            "device/engine",
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
        task=any_of(tasks_of("squad")),
    conda:
        "../envs/workstation.yaml"
    threads: 4
    params:
        spec=answer_spec,
        store=layout.BLOCKS,
    message:
        "Scoring {wildcards.model} {wildcards.quant}: {wildcards.task}"
    script:
        "../workflow/scripts/evaluate_quality.py"
