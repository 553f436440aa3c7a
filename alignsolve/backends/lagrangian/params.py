"""What steers the search for generalized assignment, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AnnealingParams:
    """Parameters of `alignsolve.backends.lagrangian.annealing.Annealing`.

    Attributes
    ----------
    price_rounds, price_share : int, float
        Steps towards prices of the budgets, and their share of the time that is left.
    price_distance, price_momentum : float
        Distance of the first target from the bound, relative, and weight of the last direction.
    price_patience : int
        Steps without progress after which that distance shrinks.
    free_price : float
        Least price of a budget, in mean losses of a move for a typical job.
    agents : int
        Agents that a job is moved to.
    chained : float
        Probability that the agent that a job is moved to hands one of its jobs on.
    first_moves, growth : int, float
        Moves of the first round, and by what factor rounds grow.
    steps, most_looks : int
        Steps of a round, and how many jobs the moves of one may look at, m / n for each move,
        between looks at the clock.
    temperature : float
        Temperature, as a share of the mean loss of a move.
    first_weight, last_weight : float
        What a budget that is out of balance costs: at first for a typical job, in
        temperatures, and at last as a multiple of the budget's price.
    last_unit : float
        What a unit above a budget costs at last, in temperatures, at least: of small sizes the
        last units that are too much weigh little, and no answer would be met.
    """

    price_rounds: int = 200
    price_share: float = 0.5
    price_distance: float = 0.05
    price_momentum: float = 0.7
    price_patience: int = 8
    free_price: float = 0.05
    agents: int = 10
    chained: float = 0.7
    first_moves: int = 400_000
    growth: float = 1.5
    steps: int = 60
    most_looks: int = 2_000_000
    temperature: float = 0.05
    first_weight: float = 2.0
    last_weight: float = 20.0
    last_unit: float = 20.0


@dataclass(frozen=True)
class GapSearchParams:
    """Parameters of `alignsolve.backends.lagrangian.gap_search.GapSearch`.

    Attributes
    ----------
    chunk_seconds : float
        Seconds of a call of the tree search between looks at the clock.
    first_slack : float
        First aim of a dive below the bound, relative.
    stuck_share : float
        Time for the proof, as a share of that for answers, once the levels that are left would
        take longer than the time that is left.
    dive_share, dive_left : float, int
        Share of the free experts that a dive fixes at a time, and how many experts it
        leaves to the tree.
    dive_nodes : int
        Nodes of the tree after a dive.
    barren_dives : int
        Dives without any answer after which an exact solver looks for one; -1 for never.
    last_dives : int
        Dives without a better answer after which a search without proof ends.
    polish_share : float
        Time for improving the best answer after a dive, as a share of the dive's.
    polish_nodes : int
        Nodes of the tree for each try.
    first_freed, fewest_freed : int
        Experts that are freed for it, at first and at least.
    annealing : AnnealingParams
        What steers annealing.
    anneal_alone : float
        Seconds for which prices are sought before annealing begins beside that.
    anneal_share : float
        Time for annealing after a dive, as a share of the dive's.
    core_seconds, core_growth : float
        Seconds at a level after which an exact solver gets the core, for as long; the next
        time after this many times as long.
    core_pairs : int
        Most pairs of a core: beyond, the linear model takes too long to begin.
    """

    chunk_seconds: float = 0.1
    first_slack: float = 4e-4
    stuck_share: float = 0.1
    dive_share: float = 0.1
    dive_left: int = 40
    dive_nodes: int = 400
    barren_dives: int = 6
    last_dives: int = 20
    polish_share: float = 2.0
    polish_nodes: int = 60
    first_freed: int = 40
    fewest_freed: int = 8
    annealing: AnnealingParams = AnnealingParams()
    anneal_alone: float = 0.5
    anneal_share: float = 1.0
    core_seconds: float = 2.0
    core_growth: float = 4.0
    core_pairs: int = 1 << 16


#: What is taken where nothing else is given.
DEFAULTS = GapSearchParams()
