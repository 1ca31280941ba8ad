"""`make virtual-pi`: one that keeps its disk from run to run."""

import argparse
import contextlib
import sys
import time

import stand_ins
import yaml

from full_pi import made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m full_pi", description=__doc__)
    show = {"help": "default: %(default)s"}
    parser.add_argument("--port", type=int, default=2222, **show)
    parser.add_argument("--memory-mb", type=int, default=2048, **show)
    args = parser.parse_args()
    folder = made.built(made.cache_folder()).folder / "kept"
    with made.board(folder, args.port) as pi, stand_ins.plugs() as plug_url:
        print(f"virtual-pi: starting (a minute or more); console: {folder}/console.log", flush=True)
        pi.boot(memory_mb=args.memory_mb)
        print("virtual-pi: runs. In ~/.ssh/config, for `ssh virtual-pi` (or root@virtual-pi) and")
        print("`llmpi init`:\n")
        print(pi.ssh_config("virtual-pi"))
        print("Or in a config of llmpi, with a plug that shows a made-up curve of 5 to 11 W:\n")
        device = pi.device(meter={"kind": "shelly", "url": plug_url}, idle_s=5)
        print(yaml.safe_dump({"devices": {"virtual-pi": device}}, sort_keys=False))
        print(f"Ctrl-C shuts it down; its disk stays: {pi.disk}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
        print("virtual-pi: shutting down", flush=True)
        pi.shut_down()


if __name__ == "__main__":
    sys.exit(main())
