"""From records to the table and the page."""


rule summarize:
    """One row per cell, failed ones with their reason."""
    input:
        **study_records(),
        code=code("summarize", *SUMMARY_MODULES),
        paper=project("src/llmpi/summary/paper.csv"),
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
    log:
        "logs/summarize/{study}.log",
    conda:
        "../envs/workstation.yaml"
    params:
        study=study.model_dump(mode="json"),
    message:
        "Summarizing study {wildcards.study}"
    script:
        "../workflow/scripts/summarize.py"


rule recommend:
    """What to take, per device and overall, and what it costs."""
    input:
        code=code(
            "recommend",
            "decide/candidates",
            "decide/choice",
            "decide/cost",
            "decide/hat",
            "decide/pareto",
            "summary/estimate",
        ),
        summary=layout.SUMMARY_JSON,
    output:
        recommendation=layout.RECOMMENDATION,
    log:
        "logs/recommend/{study}.log",
    conda:
        "../envs/workstation.yaml"
    params:
        constraints=study.constraints and study.constraints.model_dump(mode="json"),
        cost=study.cost and study.cost.model_dump(mode="json"),
    message:
        "Choosing for study {wildcards.study}"
    script:
        "../workflow/scripts/recommend.py"


rule memo:
    """The memo for a meeting: one sheet in one language."""
    input:
        code=code(
            "memo",
            "decide/candidates",
            "decide/choice",
            "decide/pareto",
            "summary/estimate",
            "report/memo/facts",
            "report/memo/pdf",
            "report/memo/text",
        ),
        template=project("src/llmpi/report/memo/{language}.md.jinja"),
        sheet=project("src/llmpi/report/memo/sheet.typ"),
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
    conda:
        "../envs/workstation.yaml"
    message:
        "Writing the memo of study {wildcards.study}, {wildcards.language}"
    script:
        "../workflow/scripts/memo.py"


rule report:
    """The page: one file, opens from disk, in the languages of the config."""
    input:
        code=code(
            "report",
            "decide/candidates",
            "decide/pareto",
            "summary/estimate",
            "report/page/body",
            "report/page/charts/measured",
            "report/page/charts/decided",
            "report/page/charts/style",
            "report/page/paper_section",
            "report/page/datasets",
            "report/page/figures",
            "report/words/japanese",
            "report/page/decision_datasets",
            "report/page/write",
            "report/page/table",
            "report/words/texts",
            "report/words/numbers",
        ),
        texts=project("src/llmpi/report/words/ja.yaml"),
        templates=page_templates(),
        summary=layout.SUMMARY_JSON,
        recommendation=layout.RECOMMENDATION,
    output:
        page=report(
            layout.PAGE,
            caption="../workflow/report/page.rst",
            category="Results",
            labels={"study": "{study}", "what": "page"},
        ),
    log:
        "logs/report/{study}.log",
    conda:
        "../envs/workstation.yaml"
    message:
        "Drawing the page of study {wildcards.study}"
    script:
        "../workflow/scripts/report.py"
