"""Devices: made ready once, then given the files they lack."""


rule check_devices:
    """What stands in the way of measuring; asked for by its file, and looks anew with --force."""
    output:
        table=layout.DEVICES_CHECK,
    log:
        "logs/check_devices/{study}.log",
    localrule: True
    conda:
        "../envs/workstation.yaml"
    params:
        code=code("check_devices"),
        devices={name: device.model_dump() for name, device in study.devices.items()},
    message:
        "Looking at the devices of study {wildcards.study}"
    script:
        "../workflow/scripts/check_devices.py"


rule provision_device:
    """Store, venv, llmpi and the engine on a device."""
    input:
        lock=project("envs/device.lock"),
    output:
        receipt=layout.PROVISIONED,
    log:
        "logs/provision_device/{device}.log",
    retries: 1
    localrule: True
    conda:
        "../envs/workstation.yaml"
    resources:
        **DEVICE_SLOTS,
    params:
        code=code("provision_device"),
        how=lambda w: settings.provisioning(study, w.device),
        engines=layout.ENGINES,
    message:
        "Provisioning device {wildcards.device}"
    script:
        "../workflow/scripts/provision_device.py"


rule deploy_gguf:
    """Put a model file into a device's store, verified there."""
    input:
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        provisioned=layout.PROVISIONED,
    output:
        receipt=layout.RECEIPT,
    log:
        "logs/deploy_gguf/{device}/{model}/{quant}.log",
    retries: 2
    localrule: True
    conda:
        "../envs/workstation.yaml"
    resources:
        **DEVICE_SLOTS,
    params:
        code=code("deploy_gguf"),
        how=lambda w: settings.deploying(study, w.device),
    message:
        "Deploying {wildcards.model} {wildcards.quant} to {wildcards.device}"
    script:
        "../workflow/scripts/deploy_gguf.py"
