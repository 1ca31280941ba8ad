"""Tasks of the lm-evaluation-harness, scored on the workstation once per variant."""


rule evaluate_lm_eval:
    """A variant on tasks of the harness."""
    input:
        code=code(
            "evaluate_lm_eval",
            "quality/lm_eval/evaluate",
            "quality/lm_eval/model",
            "quality/batching/chat",
            "quality/batching/engine",
            "quality/batching/grouping",
            "quality/batching/lanes",
            "quality/batching/schedule",
            "engine/llama",
        ),
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        tasks=harness_files,
    output:
        quality=layout.QUALITY,
    log:
        "logs/evaluate_lm_eval/{study}/{model}/{quant}/{task}.log",
    wildcard_constraints:
        task=any_of(tasks_of("lm_eval")),
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **{**scoring(None), "runtime": HARNESS_MINUTES},
    params:
        spec=lambda wildcards: study.quality[wildcards.task].model_dump(exclude={"task"}),
    message:
        "Scoring {wildcards.model} {wildcards.quant}: {wildcards.task}"
    script:
        "../workflow/scripts/evaluate_lm_eval.py"
