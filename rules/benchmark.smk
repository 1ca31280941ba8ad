"""Speed, measured on the device."""


rule benchmark_device:
    """One workload of one variant on one device; a crash of the engine is a result."""
    input:
        code=code(
            "benchmark_device",
            "remote/benchmark",
            "remote/deploy",
            "remote/plugs",
            *DEVICE_MODULES,
        ),
        gguf=ancient(layout.GGUF),
        receipt=layout.RECEIPT,
        provisioned=layout.PROVISIONED,
    output:
        bench=layout.BENCH,
    log:
        "logs/benchmark_device/{study}/{device}/{model}/{quant}/{workload}.log",
    conda:
        "../envs/workstation.yaml"
    threads: device_threads
    resources:
        **DEVICE_SLOTS,
    params:
        spec=lambda wildcards: {
            "device": device_spec(wildcards),
            "workload": study.workloads[wildcards.workload].model_dump(),
        },
    message:
        "Measuring {wildcards.model} {wildcards.quant} on {wildcards.device}: {wildcards.workload}"
    script:
        "../workflow/scripts/benchmark_device.py"
