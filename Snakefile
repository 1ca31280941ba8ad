"""llmpi: from a list of LLMs and a list of Raspberry Pis to a decision that can be defended."""

from snakemake.utils import min_version

min_version("9.27")

# A study stands alone: Snakemake would merge a config file named on the command line into this one.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/needs.smk"
include: "rules/models.smk"
include: "rules/quantize.smk"
include: "rules/train.smk"
include: "rules/deploy.smk"
include: "rules/rates.smk"
include: "rules/tune.smk"
include: "rules/benchmark.smk"
include: "rules/engines.smk"


for kind in KINDS:

    include: f"rules/{kind}.smk"


include: "rules/parity.smk"
include: "rules/report.smk"
include: "rules/terminal.smk"


take_slots(workflow.rules)


rule all:
    """The whole study, to its report."""
    default_target: True
    input:
        layout.at(layout.PAGE, study=study.study),
        [layout.at(layout.MEMO_PDF, study=study.study, language=l) for l in study.languages],
        layout.at(layout.SUMMARY_CSV, study=study.study),
        layout.at(layout.RECOMMENDATION, study=study.study),
    localrule: True


rule models:
    """Stage: every model fetched."""
    input:
        [layout.at(layout.MODEL_MANIFEST, model=model) for model in study.models],
    localrule: True


rule gguf:
    """Stage: every variant quantized."""
    input:
        [layout.at(layout.GGUF_MANIFEST, **v._asdict()) for v in made(study)],
    localrule: True


rule deployed:
    """Stage: every variant on its devices."""
    input:
        inputs.deployed(study),
    localrule: True


rule measured:
    """Stage: every speed measurement."""
    input:
        [inputs.of_session(layout.BENCH, study, session) for session in sessions(study)],
    localrule: True


rule scored:
    """Stage: every quality score."""
    input:
        inputs.quality(study),
    localrule: True
