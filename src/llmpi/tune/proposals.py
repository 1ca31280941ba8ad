"""Which settings to try next: Optuna's tree-structured Parzen estimator, told all that is known.

It keeps nothing on disk. Seeded and told the same in the same order, it proposes the same: a search
that was broken off is resumed by telling it again what was measured.
"""

from collections.abc import Callable, Sequence

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import Trial, TrialState, create_trial

from llmpi.tune.space import Setting

ATTEMPTS = 20
"""For each proposal; the estimator often repeats itself in a small space."""
REFUSED = "refused"


class Proposals:
    """An estimator and what it was told.

    Args:
        allowed: levels to choose from, of each key of a setting.
        seed: of the draws.
    """

    def __init__(self, allowed: Sequence[Sequence[int]], seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=1
        )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._space = {
            str(key): CategoricalDistribution(levels) for key, levels in enumerate(allowed)
        }
        self._asked: dict[Setting, Trial] = {}

    def tell(self, setting: Setting, gain: float | None, *, refused: bool) -> None:
        """What was measured of a setting.

        Args:
            gain: None where its engine died.
            refused: it may not win, however fast it is.
        """
        trial = self._asked.pop(setting, None)
        if trial is None:
            params = dict(zip(self._space, setting, strict=True))
            self._study.add_trial(
                create_trial(
                    state=TrialState.FAIL if gain is None else TrialState.COMPLETE,
                    value=gain,
                    params=params,
                    distributions=self._space,
                    constraints={REFUSED: float(refused)},
                )
            )
        elif gain is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_constraint(REFUSED, float(refused))
            self._study.tell(trial, gain)

    def next(self, count: int, usable: Callable[[Setting], bool]) -> list[Setting]:
        """Up to `count` different settings, all `usable`; none where it knows of no such one."""
        found: list[Setting] = []
        others: list[Trial] = []
        for _ in range(count * ATTEMPTS):
            if len(found) == count:
                break
            # Trials that are not told yet repel the next ones (`constant_liar`).
            trial = self._study.ask(self._space)
            setting = tuple(trial.params[key] for key in self._space)
            if setting in found or not usable(setting):
                others.append(trial)
                continue
            self._asked[setting] = trial
            found.append(setting)
        for trial in others:
            self._study.tell(trial, state=TrialState.FAIL)
        return found
