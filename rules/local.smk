"""What runs where Snakemake runs, wherever the rest is computed. No rules.

Only this machine reaches the devices, holds the keys to them, and surely has the internet; and
some jobs take less time than it takes to queue them.
"""


localrules:
    # the internet
    fetch_model,
    prepare_questions,
    prepare_corpus,
    # the devices
    build_wheel,
    check_devices,
    provision_device,
    deploy_gguf,
    benchmark_device,
    tune_runtime,
    check_parity,
    # seconds
    merge_shards,
    compare_pair,
    summarize,
    recommend,
    memo,
    report,
    all,
    models,
    gguf,
    deployed,
    measured,
    scored,
