"""From records to the table and the page."""


rule summarize:
    """One row per cell, failed ones with their reason."""
    input:
        **inputs.records(study),
    output:
        csv=report(
            layout.SUMMARY_CSV,
            caption="../workflow/report/summary.rst",
            category="Results",
            labels={"study": "{study}", "what": "table"},
        ),
        parquet=layout.SUMMARY_PARQUET,
        speed=layout.SPEED_JSONL,
        summary=layout.SUMMARY_JSON,
        requirements=layout.REQUIREMENTS,
    log:
        "logs/summarize/{study}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("summarize"),
        study=study.model_dump(mode="json", context=RESULTS),
        engine=ENGINE,
    message:
        "Summarizing study {wildcards.study}"
    script:
        "../workflow/scripts/summarize.py"


rule recommend:
    """What to take, per device and overall, and what it costs."""
    input:
        summary=layout.SUMMARY_JSON,
        requirements=layout.REQUIREMENTS,
    output:
        recommendation=layout.RECOMMENDATION,
    log:
        "logs/recommend/{study}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("recommend"),
        constraints=study.constraints and study.constraints.model_dump(mode="json"),
        cost=study.cost and study.cost.model_dump(mode="json"),
    message:
        "Choosing for study {wildcards.study}"
    script:
        "../workflow/scripts/recommend.py"


rule memo:
    """The memo for a meeting: one sheet in one language."""
    input:
        summary=layout.SUMMARY_JSON,
        recommendation=layout.RECOMMENDATION,
    output:
        markdown=layout.MEMO_MD,
        pdf=report(
            layout.MEMO_PDF,
            caption="../workflow/report/memo.rst",
            category="Results",
            labels={"study": "{study}", "what": "memo, {language}"},
        ),
    log:
        "logs/memo/{study}/{language}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("memo"),
    message:
        "Writing the memo of study {wildcards.study}, {wildcards.language}"
    script:
        "../workflow/scripts/memo.py"


rule report:
    """The page: one file, opens from disk, in the languages of the config."""
    input:
        summary=layout.SUMMARY_JSON,
        recommendation=layout.RECOMMENDATION,
        service=inputs.service(study),
    output:
        page=report(
            layout.PAGE,
            caption="../workflow/report/page.rst",
            category="Results",
            labels={"study": "{study}", "what": "page"},
        ),
    log:
        "logs/report/{study}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("report"),
    message:
        "Drawing the page of study {wildcards.study}"
    script:
        "../workflow/scripts/report.py"
