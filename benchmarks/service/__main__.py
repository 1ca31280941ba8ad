"""The service against llama-server by itself, and against hostile clients.

Same program, file, slots and threads. 1, 4 and 16 clients ask in a closed loop, one side after the
other in paired rounds (A B B A): ratios of tokens per second, and of the 95th percentile of whole
answers, above 1 where ours is better; medians of the rounds, `_low` and `_high` end their 95 %
intervals (bootstrap).
Then hostile requests by the side of honest clients, idle connections, slow readers and writers.
`deaths`: processes that ended; `wedged`: times that nobody was answered any more; `wrong`: answers
of honest clients with something of another request or of a template in them, and with F16 those
that part from the lone engine's where its two logits are more than 0.1 apart; `faults_as_500`: what
was the client's fault, answered as if it were the server's.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.service.attacks import MARK, Attack, attacks, send
from benchmarks.service.clients import Honest, Judge, Load, closed_loop, p95
from benchmarks.service.crowd import idle, slow
from benchmarks.service.servers import Asked, Server, bare, service
from benchmarks.speed import demo_files
from llmpi.engine import info as engine_info

SLOTS = 4
SENDERS, HONEST = 8, 2
SLOW_READERS, SLOW_WRITERS = 6, 16
"""The former have their answers computed before an honest client's, as is fair."""
PATIENCE_S = 90.0
"""Nobody waits longer for one answer; then the server is called wedged, and started anew."""
ANSWERS_BEYOND = 4
"""Of each honest client, to idle and slow company."""
RESAMPLES = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="pairs (default: %(default)s)")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=24, help="of all clients, in a turn")
    parser.add_argument("--output-tokens", type=int, default=48)
    parser.add_argument("--hostile", type=int, default=480, help="requests (default: %(default)s)")
    parser.add_argument("--idle", type=int, default=2000, help="connections")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quants", nargs="+", default=["F16", "Q4_0"], help="of the demo's model")
    parser.add_argument(
        "--bare", action="store_true", help="have llama-server by itself meet the hostile clients"
    )
    args = parser.parse_args()
    engine_info.log_to(lambda _: None)
    files = [path for path in demo_files() if path.stem in args.quants]
    found: dict[str, float] = {}
    for gguf in files:
        found |= compared(gguf, args)
    for gguf in files:
        for name, value in besieged(gguf, args).items():
            found[name] = found.get(name, 0) + value
    for name, value in found.items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")


# --- speed ----------------------------------------------------------------------------------------


def compared(gguf: Path, args: argparse.Namespace) -> dict[str, float]:
    """Ratios of one file, by the number of clients."""
    asked = Asked(gguf, SLOTS, args.threads)
    found: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as two,
        service(asked, Path(one)) as ours,
        bare(asked, Path(two)) as theirs,
    ):
        for clients in args.clients:
            pairs = []
            for i in range(args.rounds + 1):
                turns = (theirs, ours) if i % 2 else (ours, theirs)
                loads = {server.port: _turn(server.port, clients, args) for server in turns}
                pair = loads[ours.port], loads[theirs.port]
                if i:  # the first one warms up
                    pairs.append(pair)
                    print(f"{gguf.stem}: {clients} clients: {_shown(*pair)}", flush=True)
            name = f"{clients}_{gguf.stem.lower()}"
            found |= _estimated(
                f"throughput_ratio_{name}",
                [our.tokens_per_s / their.tokens_per_s for our, their in pairs],
            )
            found |= _estimated(
                f"p95_ratio_{name}", [p95(their.whole_s) / p95(our.whole_s) for our, their in pairs]
            )
            found[f"ttft_p95_s_{name}"] = float(np.median([p95(our.first_s) for our, _ in pairs]))
    return found


def _estimated(name: str, ratios: Sequence[float]) -> dict[str, float]:
    """Their median with the ends of its 95 % interval."""
    drawn = np.random.default_rng(0).choice(ratios, size=(RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return {name: float(np.median(ratios)), f"{name}_low": low, f"{name}_high": high}


def _turn(port: int, clients: int, args: argparse.Namespace) -> Load:
    load = closed_loop(port, clients, args.requests, args.output_tokens)
    if load.failed:
        raise SystemExit(f"{load.failed} of {args.requests} requests were not answered")
    return load


def _shown(our: Load, their: Load) -> str:
    return (
        f"{our.tokens_per_s:.1f} / {their.tokens_per_s:.1f} tokens/s, "
        f"p95 {p95(our.whole_s):.2f} / {p95(their.whole_s):.2f} s"
    )


# --- hostile clients ------------------------------------------------------------------------------


class Harm(NamedTuple):
    """What was done to a server."""

    deaths: int
    wedged: int
    wrong: int
    faults_as_500: int
    hostile: int
    honest: int

    def record(self) -> dict[str, float]:
        return dict(zip(self._fields, self, strict=True))


class Siege:
    """Watches a server while somebody does something to it; starts it again where it must."""

    def __init__(self, server: Server, judge: Judge) -> None:
        self._server, self._judge = server, judge
        self._lock = threading.Lock()
        self._last: deque[Attack] = deque(maxlen=SENDERS)
        self.deaths = self.wedged = self.wrong = self.as_500 = self.sent = self.honest = 0
        self.statuses: Counter[int] = Counter()
        self._revived = -PATIENCE_S

    def send(self, attack: Attack) -> None:
        self._last.append(attack)
        outcome = send(self._server.port, attack)
        self.sent += 1
        self.statuses[outcome.status] += 1
        if attack.fault and outcome.status == 500:
            self.as_500 += 1
            _say(f"500 for {attack.kind}: {b''.join(attack.sent)[-300:]!r}")
        self.look()

    def look(self) -> None:
        """Count who has died since."""
        with self._lock:
            died = self._server.died()
            if died:
                self.deaths += died
                _say(f"a process died; sent at last: {[self._short(one) for one in self._last]}")
            if self._server.process.poll() is not None:
                self._server.revive()

    def alarmed(self) -> None:
        """Nobody was answered; one of those that noticed has the server started anew."""
        with self._lock:
            if time.monotonic() - self._revived < PATIENCE_S:
                return
            self._revived = time.monotonic()
            self.wedged += 1
            _say(f"nobody is answered; sent at last: {[self._short(one) for one in self._last]}")
            self._server.revive()

    def hear(self, clients: Honest) -> None:
        self.honest += len(clients.answers)
        for prompt, said in clients.answers:
            if why := self._judge.wrong(prompt, said):
                self.wrong += 1
                _say(f"wrong: {prompt!r} -> {said!r}: {why}")

    def _short(self, attack: Attack) -> str:
        return f"{attack.kind}: {b''.join(attack.sent)[-200:]!r}"


def besieged(gguf: Path, args: argparse.Namespace) -> dict[str, float]:
    """What a file's server stands."""
    asked = Asked(gguf, SLOTS, args.threads)
    kind: Callable[[Asked, Path], AbstractContextManager[Server]] = bare if args.bare else service
    judge = Judge(gguf, strict=gguf.stem == "F16", foreign=[MARK])
    with tempfile.TemporaryDirectory() as folder, kind(asked, Path(folder)) as server:
        siege = Siege(server, judge)

        def honest() -> Honest:
            return Honest(server.port, HONEST, PATIENCE_S, siege.alarmed)

        with honest() as clients, ThreadPoolExecutor(SENDERS) as senders:
            list(senders.map(siege.send, attacks(args.hostile, args.seed)))
            _wait_for(clients, siege)
        siege.hear(clients)
        _say(f"{gguf.stem}: hostile requests: {dict(sorted(siege.statuses.items()))}")
        with idle(server.port, args.idle) as made, honest() as clients:
            _wait_for(clients, siege)
        siege.hear(clients)
        _say(f"{gguf.stem}: {made} idle connections: {len(clients.answers)} answers meanwhile")
        with slow(server.port, SLOW_READERS, SLOW_WRITERS), honest() as clients:
            _wait_for(clients, siege)
        siege.hear(clients)
        _say(f"{gguf.stem}: slow readers and writers: {len(clients.answers)} answers meanwhile")
        siege.look()
    return Harm(
        siege.deaths, siege.wedged, siege.wrong, siege.as_500, siege.sent, siege.honest
    ).record()


def _wait_for(clients: Honest, siege: Siege) -> None:
    """Until honest clients have some answers more; a server that gives none is wedged."""
    had = len(clients.answers)
    enough, until = had + HONEST * ANSWERS_BEYOND, time.monotonic() + PATIENCE_S
    while len(clients.answers) < enough:
        siege.look()
        if len(clients.answers) > had:
            had, until = len(clients.answers), time.monotonic() + PATIENCE_S
        if time.monotonic() > until:
            siege.alarmed()
            return
        time.sleep(0.2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
