"""What steers the search for generalized assignment, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GapSearchParams:
    """Parameters of `alignsolve.backends.lagrangian.gap_search.GapSearch`.

    Attributes
    ----------
    chunk_seconds : float
        Seconds of a call of the tree search between looks at the clock.
    first_slack : float
        First aim of a dive below the bound, relative.
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
    greedy_seconds, greedy_share : float
        Most time for a first answer by greedy: seconds, and a share of what is left.
    core_seconds, core_growth : float
        Seconds at a level after which an exact solver gets the core, for as long; the next
        time after this many times as long.
    core_pairs : int
        Most pairs of a core: beyond, the linear model takes too long to begin.
    """

    chunk_seconds: float = 0.1
    first_slack: float = 4e-4
    dive_share: float = 0.1
    dive_left: int = 40
    dive_nodes: int = 400
    barren_dives: int = 6
    last_dives: int = 20
    polish_share: float = 2.0
    polish_nodes: int = 60
    first_freed: int = 40
    fewest_freed: int = 8
    greedy_seconds: float = 3.0
    greedy_share: float = 0.1
    core_seconds: float = 2.0
    core_growth: float = 4.0
    core_pairs: int = 1 << 16


#: What is taken where nothing else is given.
DEFAULTS = GapSearchParams()
