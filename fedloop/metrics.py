"""Figures about a run: rounds to a target, means over seeds, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


def worst_decile(values: np.ndarray) -> float:
    """Return the mean of the lowest tenth of the values, at least one of them."""
    return float(np.sort(values)[: max(1, len(values) // 10)].mean())


def first_reaching(values: Sequence[float], target: float) -> int | None:
    """Return the position from which a series has reached a target once, or None."""
    return next((at for at, value in enumerate(values) if value >= target), None)


def balance(load: np.ndarray) -> float:
    """Return the coefficient of variation of a load; 0 where there is none."""
    mean = float(load.mean())
    return float(load.std()) / mean if mean > 0 else 0.0


def summary(records: Sequence[Mapping[str, Any]], targets: Sequence[float]) -> dict[str, Any]:
    """Return the figures of a run.

    Parameters
    ----------
    records : sequence of dict
        As `fedloop.train.train` makes them.
    targets : sequence of float
        Accuracies, as shares.

    Returns
    -------
    dict
        ``rounds_to``, ``bytes_to`` and ``seconds_to``: target, in percent, as
        text -> rounds, bytes (down and up) or simulated seconds until the
        clients' mean accuracy first reached it, None where it never did. Final
        ``accuracy``, ``worst_decile`` (as served), ``accuracy_all``
        (with all), ``load_cv``, of text ``bits_per_byte`` and ``bits_per_byte_all``;
        ``rounds``, ``bytes``, ``seconds`` in total.
    """
    moved = np.cumsum([record["down_bytes"] + record["up_bytes"] for record in records])
    passed = np.cumsum([record["seconds"] for record in records])
    accuracy = [record["accuracy"] for record in records]
    at = {f"{100 * target:g}": first_reaching(accuracy, target) for target in targets}
    last = records[-1]
    return {
        "rounds_to": {name: None if k is None else k + 1 for name, k in at.items()},
        "bytes_to": {name: None if k is None else int(moved[k]) for name, k in at.items()},
        "seconds_to": {name: None if k is None else float(passed[k]) for name, k in at.items()},
        **{name: last[name] for name in ("accuracy", "worst_decile", "accuracy_all", "load_cv")},
        **{name: last[name] for name in ("bits_per_byte", "bits_per_byte_all") if name in last},
        "rounds": len(records), "bytes": int(moved[-1]), "seconds": float(passed[-1]),
    }


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes
    ----------
    mean : float
        Mean; a lower bound where values are censored.
    half_width : float
        Half the width of the 95% interval by Student's t; NaN for one value.
    censored : int
        Values known only to be larger than what was counted for them.
    n : int
        Values.
    """

    mean: float
    half_width: float
    censored: int
    n: int


def estimate(values: Sequence[float | None], limit: float = np.nan) -> Estimate:
    """Return the mean of values with its 95% interval; None counts as `limit`, censored."""
    from scipy.stats import t

    numbers = np.array([limit if value is None else value for value in values], np.float64)
    n = len(numbers)
    half = np.nan
    if n > 1:
        half = float(t.ppf(0.975, n - 1) * numbers.std(ddof=1) / np.sqrt(n))
    return Estimate(float(numbers.mean()), half, sum(value is None for value in values), n)


def paired_change(
    ours: Sequence[float | None], theirs: Sequence[float | None], limit: float = np.nan
) -> Estimate:
    """Return the mean over seeds of ours / theirs - 1, with its 95% interval.

    Parameters
    ----------
    ours, theirs : sequence of float or None
        One value per seed, the same seeds. None counts as `limit`, censored; the
        change is then a bound, and no estimate where both are censored.
    limit : float
        The last round, or the bytes until then.
    """
    pairs = list(zip(ours, theirs, strict=True))
    changes = [(limit if a is None else a) / (limit if b is None else b) - 1 for a, b in pairs]
    return replace(estimate(changes), censored=sum(None in pair for pair in pairs))
