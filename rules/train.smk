"""What is learned for few bits: a rounding, or by quantization-aware training all weights, of a model
that exists or from scratch."""


rule start_model:
    """A model that does not exist yet: random weights, another model's vocabulary."""
    input:
        vocabulary=ancient(lambda w: inputs.vocabulary(study, w.model)[0]),
        vocabulary_manifest=lambda w: inputs.vocabulary(study, w.model)[1],
    output:
        model=layout.MODEL_MANIFEST,
        gguf=layout.START_GGUF,
        manifest=layout.START_MANIFEST,
    log:
        "logs/start_model/{model}.log",
    wildcard_constraints:
        model=any_of(inputs.models(study, from_scratch=True)),
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("start_model"),
        spec=lambda w: settings.model(study, w.model, SOURCES_LOCK),
        engine=ENGINE,
        seed=lambda w: settings.training(study, w.model)["seed"],
    message:
        "Making {wildcards.model}"
    script:
        "../workflow/scripts/start_model.py"


rule learn_rounding:
    """A variant whose rounding is learned, block by block; interrupted, it goes on where it was."""
    input:
        base=ancient(layout.BASE_GGUF),
        base_manifest=layout.BASE_MANIFEST,
        corpus=layout.at(layout.CORPUS, study=study.study, task="calibration"),
        imatrix=lambda w: inputs.imatrix(w.model, w.quant),
    output:
        gguf=layout.GGUF,
        manifest=layout.GGUF_MANIFEST,
    log:
        "logs/learn_rounding/{model}/{quant}.log",
    wildcard_constraints:
        quant=any_of(filter(is_rounded, QUANTS)),
    conda:
        "../envs/workstation.yaml"
    threads: lambda wildcards: workflow.cores
    resources:
        **ROUNDING,
    params:
        code=code("learn_rounding"),
        spec=settings.rounding(study),
        engine=ENGINE,
        checkpoints=layout.CHECKPOINTS,
    message:
        "Rounding {wildcards.model} for {wildcards.quant}"
    script:
        "../workflow/scripts/learn_rounding.py"


rule train_qat:
    """A variant whose weights were trained for its type; interrupted, it goes on where it was."""
    input:
        base=ancient(lambda w: inputs.trained_from(study, w.model)[0]),
        base_manifest=lambda w: inputs.trained_from(study, w.model)[1],
        corpus=layout.at(layout.CORPUS, study=study.study, task="qat"),
    output:
        gguf=layout.GGUF,
        manifest=layout.GGUF_MANIFEST,
    log:
        "logs/train_qat/{model}/{quant}.log",
    wildcard_constraints:
        quant=any_of(filter(is_trained, QUANTS)),
    conda:
        "../envs/workstation.yaml"
    threads: lambda wildcards: workflow.cores
    resources:
        **TRAINING,
    params:
        code=code("train_qat"),
        spec=lambda w: settings.training(study, w.model),
        engine=ENGINE,
        target=lambda w: w.quant,
        checkpoints=layout.CHECKPOINTS,
    message:
        "Training {wildcards.model} for {wildcards.quant}"
    script:
        "../workflow/scripts/train_qat.py"


use rule train_qat as train_base with:
    output:
        gguf=layout.BASE_GGUF,
        manifest=layout.BASE_MANIFEST,
    log:
        f"logs/train_base/{{model}}/{layout.BASE_QUANT}.log",
    wildcard_constraints:
        model=any_of(inputs.models(study, from_scratch=True)),
    params:
        spec=lambda w: settings.training(study, w.model),
        engine=ENGINE,
        target=layout.BASE_QUANT,
        checkpoints=layout.at(layout.CHECKPOINTS, model="{model}", quant=layout.BASE_QUANT),
    message:
        "Training {wildcards.model} from scratch"
