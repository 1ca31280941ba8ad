"""Tasks of the lm-evaluation-harness, scored on the workstation once per variant
and computation."""


rule evaluate_lm_eval:
    """A variant on tasks of the harness."""
    input:
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        tasks=lambda w: inputs.harness(study, w.task),
    output:
        quality=layout.QUALITY,
    log:
        "logs/evaluate_lm_eval/{study}/{model}/{quant}/{computation}/{task}.log",
    wildcard_constraints:
        task=any_of(inputs.tasks_of(study, "lm_eval")),
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **{**scoring(None), "runtime": HARNESS_MINUTES},
    params:
        code=code("evaluate_lm_eval"),
        spec=lambda w: settings.harness(study, w.model, w.task, w.computation),
        engine=ENGINE,
    message:
        "Scoring {wildcards.model} {wildcards.quant} ({wildcards.computation}): {wildcards.task}"
    script:
        "../workflow/scripts/evaluate_lm_eval.py"
