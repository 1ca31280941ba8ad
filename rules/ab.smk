"""The user's own prompts, answered by each variant, and pairs of variants compared."""


rule answer_prompts:
    """A variant's answers to the user's prompts, each held against what is expected."""
    input:
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        prompts=lambda w: study.quality[w.task].prompts,
    output:
        quality=layout.QUALITY,
    log:
        "logs/answer_prompts/{study}/{model}/{quant}/{computation}/{task}.log",
    wildcard_constraints:
        task=any_of(inputs.tasks_of(study, "ab")),
    conda:
        "../envs/workstation.yaml"
    threads: THREADS
    resources:
        **scoring(prompt_tokens),
    params:
        code=code("answer_prompts"),
        spec=lambda w: settings.own_prompts(study, w.model, w.task, w.computation),
        engine=ENGINE,
        store=layout.BLOCKS,
    message:
        "Answering {wildcards.task} with {wildcards.model} {wildcards.quant} ({wildcards.computation})"
    script:
        "../workflow/scripts/answer_prompts.py"


rule ask_prompts:
    """The same of an engine that is not llmpi's, over HTTP; asked from the device."""
    input:
        prompts=lambda w: study.quality[w.task].prompts,
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        provisioned=layout.PROVISIONED,
    output:
        asked=layout.ASKED,
    log:
        "logs/ask_prompts/{study}/{device}/{model}/{quant}/{runtime}/{task}.log",
    wildcard_constraints:
        task=any_of(inputs.tasks_of(study, "ab")),
    retries: 2
    localrule: True
    conda:
        "../envs/workstation.yaml"
    resources:
        **DEVICE_SLOTS,
    params:
        code=code("ask_prompts"),
        spec=lambda w: settings.asking(study, session_of(w), w.task),
    message:
        "Asking {wildcards.runtime} on {wildcards.device}, {wildcards.model} {wildcards.quant}: {wildcards.task}"
    script:
        "../workflow/scripts/ask_prompts.py"


rule compare_pair:
    """Two variants on the same prompts, and a blind sheet for people."""
    input:
        prompts=lambda w: study.quality[w.task].prompts,
        records=lambda w: inputs.pair(study, w.task, w.pair),
        judgements=lambda w: inputs.judgements(study, w.task),
    output:
        comparison=layout.AB,
        sheet=layout.AB_SHEET,
        key=layout.AB_KEY,
    log:
        "logs/compare_pair/{study}/{task}/{pair}.log",
    wildcard_constraints:
        task=any_of(inputs.tasks_of(study, "ab")),
        pair=any_of(inputs.all_pairs(study)),
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("compare_pair"),
        spec=lambda w: settings.pair(study, w.task, w.pair),
    script:
        "../workflow/scripts/compare_pair.py"
