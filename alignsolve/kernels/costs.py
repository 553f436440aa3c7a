"""What it costs to compile and to load kernels, in one place, and the word of it to the user."""

from __future__ import annotations

import logging
import os
import sys

logger = logging.getLogger(__name__)

#: Seconds of one processor that it takes to import numba, and to load a compiled kernel.
IMPORT, LOAD = 0.7, 0.03

#: Seconds of one processor that kernels compile for, by the type of their first arrays, what they
#: call included where that was not compiled before (`benchmarks/cold_start.py --kernels`, 2 cores
#: x86-64); a kernel that is not here takes `OTHER`.
SECONDS: dict[str, dict[str, float]] = {
    "backends.exchange.row_kernels.response_ones": {"float32": 2.0},
    "backends.exchange.bookkeeping.imbalance": {"float64": 0.5},
    "backends.exchange.newton_kernels.near_swaps": {"int64": 0.1},
    "backends.exchange.newton_kernels.settle_rates": {"float64": 0.2},
    "backends.exchange.newton_kernels.newton_step": {"float64": 1.4},
    "backends.exchange.newton_kernels.stepped_prices": {"float64": 0.1},
    "backends.exchange.bookkeeping.lower_slack": {"float32": 0.1},
    "backends.exchange.bookkeeping.chosen_load": {"int64": 0.1},
    "backends.exchange.heaps.clear_pairs": {"bool": 0.2},
    "backends.exchange.heaps.list_clients": {"float32": 1.7},
    "backends.exchange.paths.augment": {"float32": 4.1},
    "backends.exchange.bookkeeping.write_pairs": {"int64": 0.1},
    "model.pair_kernel._scan": {"int64": 0.1},
    "certificate.row_pass_kernels.residual_rows": {"float32": 0.8},
    "backends.exchange.bookkeeping.read_pairs": {"int64": 0.3},
    "certificate.row_pass_kernels.regret_rows": {"float32": 0.3},
    "backends.exchange.row_kernels.response_manys": {"float32": 1.2},
    "backends.exchange.group_rows.respond_in_groups": {"float32": 2.1},
    "certificate.group_pass_kernels.residual_rows_in_groups": {"float32": 1.4},
    "model.sources.factor_kernels.product": {"float64": 0.1},
    "backends.exchange.heaps.swap_exists": {"float32": 0.7},
    "infeasibility.max_flow_kernels.count_pairs": {"uint8": 0.1},
    "infeasibility.max_flow_kernels.seed_clients": {"uint8": 0.4},
    "infeasibility.max_flow_kernels.search": {"uint8": 0.4},
    "infeasibility.max_flow_kernels.augment": {"uint8": 0.7},
    "elastic.kernels.best_responses": {"uint8": 1.0},
    "elastic.kernels.response_worth": {"uint8": 0.2},
    "backends.lagrangian.best_response_kernels.respond_in_turn": {"int64": 9.0},
    "backends.lagrangian.best_response_kernels.respond": {"int64": 1.8},
    "backends.lagrangian.best_response_kernels.clearing_prices": {"float64": 0.5},
    "elastic.moves.improve": {"float64": 1.2},
    "elastic.moves.exchange": {"float64": 0.9},
    "backends.lagrangian.annealing_kernels.anneal": {"float64": 1.2},
    "backends.lagrangian.knapsack.best_knapsacks": {"float64": 1.3},
    "backends.lagrangian.tree_bound.write_losses": {"float64": 0.6},
    "backends.lagrangian.tree_kernels.search": {"float64": 1.7},
    "backends.lagrangian.tree_kernels.process": {"float64": 2.4},
    "backends.lagrangian.tree_state.keep_only": {"float64": 0.1},
}
OTHER = 0.5


#: Seconds of processor time for which this process interpreted kernels.
interpreted = 0.0

#: Solvers of which it was said that they compile.
said: set[str] = set()

#: What is said where kernels would have to compile first.
WARM_UP_HINT = ("; its kernels are not compiled yet, `alignsolve warm-up` or al.warm_up() compiles "
                "them")


def kind_among(stem: str, kind: str) -> str:
    """Return a type if a kernel's first array may have it, else the type that it has."""
    kinds = SECONDS.get(stem, {})
    return kind if kind in kinds else next(iter(kinds), kind)


def compiling(stem: str) -> float:
    """Return the seconds that a kernel compiles for, with what it calls."""
    return max(SECONDS.get(stem, {}).values(), default=OTHER)


def jit_is_disabled() -> bool:
    """Tell whether the environment says that nothing is to be compiled."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def announce(stem: str) -> None:
    """Say once, of each solver, that its kernels are compiled: to standard error and the log."""
    family, _, _ = stem.removeprefix("backends.").partition(".")
    if family in said:
        return
    said.add(family)
    seconds = sum(max(kinds.values()) for name, kinds in SECONDS.items()
                  if name.startswith(f"backends.{family}."))
    message = (f"alignsolve: compiling the kernels of {family!r}, once: up to {seconds:.0f} s of "
               f"processor time; `alignsolve warm-up` or al.warm_up() does that ahead of time")
    logger.info(message)
    if stem.startswith("backends.") and sys.stderr is not None:
        print(message, file=sys.stderr)
