"""Thresholds and sizes of the exchange solver, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExchangeParams:
    """When the solver does what, and how much at a time.

    The optimum does not depend on any of it; time and memory do, and which of several
    optimal assignments is found.

    Attributes
    ----------
    block_rows, batches : int
        Rows of a block of a pass, and batches of blocks at most that threads are handed; two
        blocks are not worth a second thread.
    smallest_sample, first_entries : int
        Clients per expert of the smallest sample, and entries of the matrix; both are kept.
    growth : int
        How many times larger each sample is than the one before.
    exact_sample, exact_excess : int
        Samples of up to so many clients per expert are solved exactly; so are larger ones
        that Newton steps leave with more than so much excess, in holders per expert (ties).
    small : int
        Entries of the matrix up to which exact paths alone are fastest.
    guess : int
        Entries of the matrix from which guessed prices are tried where no sample tells them.
    newton_clients, newton_sample : int
        Clients per expert above which Newton steps pay before exact paths: of the whole
        problem, and of a sample.
    list_excess, list_node : int
        Clients listed at first: per unit of excess, and per node.
    list_share : float
        Most of a level's clients listed at first, in (0, 1].
    least_cap : int
        Entries listed for an ordered pair of nodes at least, before more are turned away.
    long_lists : int
        Entries per pair of nodes from which only pairs in the way are listed farther.
    wider, cap_growth : float, int
        Growth of how far pairs are listed, and of the most entries of a pair whose clients tie.
    probe : int
        Widenings before feasibility is checked.
    search_work : float
        Operations of the searches between two looks at the clock.
    stall_entry, stall_flat : float
        Work beyond which the method has stalled, in units of about 1 ns: per entry of the
        matrix, and flat. A general flow solver needs about 1500 per entry.
    grace : float
        Seconds that a stopped solve may take to make its answer feasible.
    slack_sample : int
        Clients from whose slack quantiles are told.
    drawn : int
        Entries at most of the rows of a source that are drawn to learn prices from.
    room, whole_share : int
        Entries at most of the rows that are gathered from a source; a problem of less than
        one part in `whole_share` of that is gathered whole.
    """

    block_rows: int = 8192
    batches: int = 16
    smallest_sample: int = 2
    first_entries: int = 8192
    growth: int = 8
    exact_sample: int = 16
    exact_excess: int = 2
    small: int = 4096
    guess: int = 1024
    newton_clients: int = 2
    newton_sample: int = 8
    list_excess: int = 12
    list_node: int = 4
    list_share: float = 0.4
    least_cap: int = 32
    long_lists: int = 48
    wider: float = 4.0
    cap_growth: int = 4
    probe: int = 4
    search_work: float = 2e7
    stall_entry: float = 300.0
    stall_flat: float = 3e8
    grace: float = 0.2
    slack_sample: int = 16384
    drawn: int = 2**21
    room: int = 2**24
    whole_share: int = 64


#: What is taken where nothing else is given.
DEFAULTS = ExchangeParams()
