"""Models: fetched once, shared by all studies."""


rule fetch_model:
    """Fetch a model and pin down what was fetched: revision, hashes, licence."""
    input:
        path=lambda w: inputs.fetched_from(study, w.model),
    output:
        manifest=layout.MODEL_MANIFEST,
    log:
        "logs/fetch_model/{model}.log",
    wildcard_constraints:
        model=any_of(inputs.models(study, from_scratch=False)),
    retries: 2
    localrule: True
    conda:
        "../envs/workstation.yaml"
    resources:
        downloads=1,
    params:
        code=lambda w: code("fetch_model", *fetched_by(w)),
        spec=lambda w: settings.model(study, w.model, SOURCES_LOCK),
        engine=ENGINE,
        fetched_by=fetched_by,
    message:
        "Fetching {wildcards.model}"
    script:
        "../workflow/scripts/fetch_model.py"
