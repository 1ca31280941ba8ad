"""What of a device would spoil numbers, each with what mends it."""

from collections.abc import Iterator

from llmpi.device.records import Look, Surroundings
from llmpi.remote.provision import wrong_userland
from llmpi.study.devices import MeasuredDevice, SshDevice

CLOCK_MAY_BE_OFF_S = 5.0
FREE_SHOULD_BE_BYTES = 4e9
SLOW_BYTES_PER_S = 40e6
"""Of a worn or slow SD card: a model of 1 GB takes longer than 25 s to load."""
MEASURES_BEST_WITH = "performance"

SWAP_OFF = {
    "rpi-swap": "for good: Mechanism=none below [Main] in /etc/rpi/swap.conf, and a restart",
    "dphys-swapfile": "for good: sudo systemctl disable --now dphys-swapfile",
    "zram-generator": "for good: sudo rm /etc/systemd/zram-generator.conf, and a restart",
    "fstab": "for good: its line out of /etc/fstab",
    None: "for good: what makes it at every start",
}


def remedies(seen: Look, around: Surroundings, ahead_s: float, device: MeasuredDevice) -> list[str]:
    """In the order in which they matter.

    Args:
        ahead_s: its clock before this machine's, in seconds.
    """
    return [
        *_userland(seen, around, device),
        *_power_and_heat(seen, around, device),
        *_swap(around),
        *_load(seen, around),
        *_governor(seen),
        *_storage(seen, around),
        *_clock(ahead_s),
    ]


def _userland(seen: Look, around: Surroundings, device: MeasuredDevice) -> Iterator[str]:
    machine = seen["machine"]
    if why := wrong_userland(machine["arch"], machine["userland_bits"]):
        yield why
    if not isinstance(device, SshDevice) or around["compiler"]:
        return
    if device.engine == "native" or (device.engine == "auto" and machine["arch"] != "aarch64"):
        yield (
            f"no C++ compiler: the engine for {machine['arch']} is compiled there; sudo apt "
            "install build-essential, or name a wheel as 'engine'"
        )


def _power_and_heat(seen: Look, around: Surroundings, device: MeasuredDevice) -> Iterator[str]:
    now = seen["conditions"]
    if why := now.get("throttling_unseen"):
        yield f"its throttling cannot be seen: {why}"
    told = now["throttled"] or {"now": [], "since_boot": []}
    for what in told["now"]:
        yield f"{what} now: {_mended_by(what, around)}"
    for what in told["since_boot"]:
        if what not in told["now"]:
            yield f"{what} since boot: {_mended_by(what, around)}; a restart clears the mark"
    cool = device.cool_below_c
    if cool and now["temperature_c"] and now["temperature_c"] > cool:
        yield f"warmer than cool_below_c ({cool:g}): measurements will wait"


def _mended_by(what: str, around: Surroundings) -> str:
    if what == "under-voltage":
        return "a stronger power supply (a Pi 5: 5 V, 5 A) and a shorter cable"
    fan = "" if around["fan_rpm"] is None else f"; its fan turns at {around['fan_rpm']} rpm"
    return f"more cooling: a heat sink and a fan{fan}"


def _swap(around: Surroundings) -> Iterator[str]:
    if not around["swaps"]:
        return
    if any(swap["kind"] == "zram" for swap in around["swaps"]):
        why = "swap is compressed memory (zram): it takes from the memory that is measured"
    else:
        why = "swap is on: a model that does not fit slows down instead of failing"
    yield f"{why}; for clear results: sudo swapoff -a; {SWAP_OFF[around['swap_made_by']]}"


def _load(seen: Look, around: Surroundings) -> Iterator[str]:
    if around["busy"]:
        who = ", ".join(f"{one['name']} ({one['processors']:.1f})" for one in around["busy"][:3])
        yield (
            f"something else computes there: {who} processors' worth; end it, or measure when it "
            f"is over (load {seen['conditions']['load_1min']:.1f})"
        )


def _governor(seen: Look) -> Iterator[str]:
    governor = seen["conditions"]["governor"]
    if governor not in (None, MEASURES_BEST_WITH):
        yield (
            f"the frequency governor is {governor}; steadier: echo performance | sudo tee "
            "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )


def _storage(seen: Look, around: Surroundings) -> Iterator[str]:
    storage, speed = seen["storage"], around["storage_speed"]
    if storage["free_bytes"] < FREE_SHOULD_BE_BYTES:
        yield "little room in the store; free some, or name a store on a larger disk"
    if storage["medium"] == "SD card":
        yield "the store is on an SD card: models load slowly; an NVMe or USB disk helps"
    elif speed and speed["read_bytes_per_s"] < SLOW_BYTES_PER_S:
        rate = f"{speed['read_bytes_per_s'] / 1e6:.0f} MB/s"
        yield f"the store is slow ({rate}): models load slowly; a faster disk helps"


def _clock(ahead_s: float) -> Iterator[str]:
    if abs(ahead_s) > CLOCK_MAY_BE_OFF_S:
        yield (
            f"its clock is {ahead_s:+.0f} s off this machine's; enable time synchronisation there: "
            "sudo timedatectl set-ntp true"
        )
