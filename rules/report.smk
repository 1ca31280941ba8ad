"""From records to the table and the page."""


rule summarize:
    """One row per cell, failed ones with their reason."""
    input:
        **study_records(),
        code=code(
            "summarize",
            "report/summary",
            "report/tuned",
            "quality/comparisons",
            "quality/statistics",
            "device/energy",
            "device/meters",
        ),
    output:
        csv=report(
            layout.SUMMARY_CSV,
            caption="../workflow/report/summary.rst",
            category="Results",
            labels={"study": "{study}", "what": "table"},
        ),
        summary=layout.SUMMARY_JSON,
    log:
        "logs/summarize/{study}.log",
    conda:
        "../envs/workstation.yaml"
    params:
        spec=study.model_dump(mode="json"),
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


rule report:
    """The page: self-contained, opens from disk."""
    input:
        code=code("report", "report/page", "report/charts"),
        templates=[
            project("src/llmpi/report/page.html"),
            project("src/llmpi/report/tuned.html"),
        ],
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
