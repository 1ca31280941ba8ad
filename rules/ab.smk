"""The user's own prompts, answered by each variant, and pairs of variants compared."""


rule answer_prompts:
    """A variant's answers to the user's prompts, each held against what is expected."""
    input:
        code=code(
            "answer_prompts",
            "quality/ab/evaluate",
            "quality/ab/checks",
            "quality/ab/prompts",
            "quality/batching/answer",
            "quality/batching/chat",
            "quality/batching/engine",
            "quality/batching/lanes",
            "quality/batching/schedule",
            "engine/answers",
            "engine/llama",
        ),
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        prompts=lambda wildcards: study.quality[wildcards.task].prompts,
    output:
        quality=layout.QUALITY,
    log:
        "logs/answer_prompts/{study}/{model}/{quant}/{task}.log",
    wildcard_constraints:
        task=any_of(tasks_of("ab")),
    conda:
        "../envs/workstation.yaml"
    threads: 4
    resources:
        **scoring(prompt_tokens),
    params:
        spec=prompt_spec,
        store=layout.BLOCKS,
    message:
        "Answering {wildcards.task} with {wildcards.model} {wildcards.quant}"
    script:
        "../workflow/scripts/answer_prompts.py"


rule compare_pair:
    """Two variants on the same prompts, and a blind sheet for people."""
    input:
        code=code(
            "compare_pair",
            "quality/ab/compare",
            "quality/ab/checks",
            "quality/ab/prompts",
            "quality/ab/blind_sheet",
            "quality/ab/pairs",
            "engine/answers",
            "quality/statistics",
        ),
        template=project("src/llmpi/quality/ab/blind_sheet.html"),
        prompts=lambda wildcards: study.quality[wildcards.task].prompts,
        records=pair_records,
        judgements=judgement_files,
    output:
        comparison=layout.AB,
        sheet=layout.AB_SHEET,
        key=layout.AB_KEY,
    log:
        "logs/compare_pair/{study}/{task}/{pair}.log",
    wildcard_constraints:
        task=any_of(tasks_of("ab")),
        pair=any_of(all_pairs()),
    conda:
        "../envs/workstation.yaml"
    params:
        spec=pair_spec,
    script:
        "../workflow/scripts/compare_pair.py"
