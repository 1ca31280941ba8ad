"""Devices: made ready once, then given the files they lack."""


rule build_wheel:
    """The wheel of this llmpi, for the devices."""
    input:
        code=code(
            "build_wheel",
            "remote/wheel",
            "device/measure/turn_process",
            *DEVICE_MODULES,
            *SERVICE_MODULES,
        ),
        pyproject=project("pyproject.toml"),
    output:
        wheel=layout.WHEEL,
    log:
        "logs/build_wheel/build_wheel.log",
    conda:
        "../envs/workstation.yaml"
    script:
        "../workflow/scripts/build_wheel.py"


rule check_devices:
    """What stands in the way of measuring; asked for by its file, and looks anew with --force."""
    input:
        code=code(
            "check_devices",
            "remote/check",
            "remote/plugs",
            "remote/provision",
            "remote/engine_wheels",
            "device/machine/energy",
            "device/machine/environment",
            "device/machine/meters",
        ),
    output:
        table=layout.DEVICES_CHECK,
    log:
        "logs/check_devices/{study}.log",
    conda:
        "../envs/workstation.yaml"
    params:
        spec={name: device.model_dump() for name, device in study.devices.items()},
    message:
        "Looking at the devices of study {wildcards.study}"
    script:
        "../workflow/scripts/check_devices.py"


rule provision_device:
    """Store, venv, llmpi and the engine on a device."""
    input:
        unpack(wheel_for_ssh),
        code=code("provision_device", "remote/provision", "remote/engine_wheels"),
        lock=project("envs/device.lock"),
        installer=project("src/llmpi/device/install.py"),
    output:
        receipt=layout.PROVISIONED,
    log:
        "logs/provision_device/{device}.log",
    retries: 1
    conda:
        "../envs/workstation.yaml"
    resources:
        **DEVICE_SLOTS,
    params:
        spec=device_spec,
        engines=layout.ENGINES,
    message:
        "Provisioning device {wildcards.device}"
    script:
        "../workflow/scripts/provision_device.py"


rule deploy_gguf:
    """Put a model file into a device's store, verified there."""
    input:
        code=code("deploy_gguf", "remote/deploy"),
        gguf=ancient(layout.GGUF),
        manifest=layout.GGUF_MANIFEST,
        provisioned=ancient(layout.PROVISIONED),
    output:
        receipt=layout.RECEIPT,
    log:
        "logs/deploy_gguf/{device}/{model}/{quant}.log",
    retries: 2
    conda:
        "../envs/workstation.yaml"
    resources:
        **DEVICE_SLOTS,
    params:
        spec=device_spec,
    message:
        "Deploying {wildcards.model} {wildcards.quant} to {wildcards.device}"
    script:
        "../workflow/scripts/deploy_gguf.py"
