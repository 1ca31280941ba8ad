"""Quantization-aware training, of a model that exists or from scratch."""


rule start_model:
    """A model that does not exist yet: random weights, another model's vocabulary."""
    input:
        code=code(
            "start_model",
            "train/small",
            "gguf/contents",
            "gguf/ggml",
            "gguf/inspect",
            "gguf/quantizers",
        ),
        vocabulary=ancient(vocabulary_base),
    output:
        model=layout.MODEL_MANIFEST,
        gguf=layout.START_GGUF,
        manifest=layout.START_MANIFEST,
    log:
        "logs/start_model/{model}.log",
    wildcard_constraints:
        model=any_of(models_from(scratch=True)),
    conda:
        "../envs/workstation.yaml"
    params:
        spec=model_source,
        seed=lambda wildcards: training_spec(wildcards)["seed"],
    message:
        "Making {wildcards.model}"
    script:
        "../workflow/scripts/start_model.py"


rule train_qat:
    """A variant whose weights were trained for its type; interrupted, it goes on where it was."""
    input:
        unpack(trained_from),
        code=code("train_qat", *TRAIN_MODULES),
        corpus=corpus_of("qat"),
    output:
        gguf=layout.GGUF,
        manifest=layout.GGUF_MANIFEST,
    log:
        "logs/train_qat/{model}/{quant}.log",
    wildcard_constraints:
        quant=any_of(filter(is_trained, QUANTS)),
    conda:
        "../envs/workstation.yaml"
    threads: workflow.cores
    resources:
        **TRAINING,
    params:
        spec=training_spec,
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
        model=any_of(models_from(scratch=True)),
    params:
        spec=training_spec,
        checkpoints=layout.at(layout.CHECKPOINTS, model="{model}", quant=layout.BASE_QUANT),
    message:
        "Training {wildcards.model} from scratch"
