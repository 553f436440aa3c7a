"""How much the greedy search tries, and what it may still spend."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from alignsolve.model.arrays import row_blocks


@dataclass(frozen=True)
class GreedyParams:
    """How much the greedy search tries.

    Attributes
    ----------
    grace_seconds : float
        Seconds that even an expired limit leaves: an answer a little late beats none.
    price_share : float
        Share of the time left that prices of the loads may take.
    improve_work, flow_work : float
        Table entries that an attempt may read to repair and improve; of the flow class,
        where what resists is better left to `feasible_assignment`.
    expert_work : float
        Entries that filling the experts by regret may read.
    escapes : int
        Local optima with broken bounds that are left by making them weigh more.
    escape_factor : float
        By how much a broken bound's weight grows at one.
    small_pairs : int
        Pairs up to which problems of the mip class are tried more than once.
    fresh_starts : int
        Starts of those by client, in orders drawn anew.
    kicks : int
        How often a small problem's best answer loses pairs at random and is repaired.
    kick_share : float
        Share of the pairs that it loses.
    block_bytes : int
        Bytes of values of the clients that compete for the experts by regret, a block after
        the other.
    swap_rounds, fill_rounds : int
        Rounds in which clients swap an expert each for what they gain by, and to fill experts.
    asked, least_asked : int
        Clients asked in a round of filling, for each client that is lacking, and at least.
    sample_entries, load_rounds : int
        Prices of loads are learnt from a sample: its table entries, and how often it is asked.
    step_decay, later_step : float
        How fast the steps of prices shrink, and where they start from prices that are given.
    shift_part : float
        Part of the common shift of prices that is made at once.
    shift_halvings : int
        Halvings to find it.
    turn_share : float
        Share of the clients left that add at a time.
    turn_clients, turn_entries : int
        Least number of them, and their entries at most.
    turn_step : float
        Change of a price, in spreads of values, where they ask for twice what is left.
    price_rounds : int
        Rounds in which prices of the budgets are sought.
    blurred_part : float
        Part of these rounds over which the scores by which experts tell clients apart shrink
        from `first_blur` to `last_blur`.
    first_blur, last_blur : float
        In standard deviations of the values.
    price_reach : float
        By how much of itself a price of a budget changes in a round at most.
    regret_share, first_share : float
        Share of the experts that lack holders, those of the largest regrets, that take one
        at once; and the same for a first answer.
    table_entries : int
        Entries that one table of exchanges reads at most; a larger answer is sampled.
    table_experts : int
        Experts that it has at most; of more, a sample takes part.
    cycle_experts : int
        Experts up to which cycles of more than two arcs are sought.
    rotation_clients, matched_clients : int
        Clients per arc that one rotation considers, and that are matched one by one where
        their weights differ.
    rotation_work : int
        Work of a rotation, in table entries.
    clients_per_entry : int
        One table entry is charged per this many clients.
    failures : int
        Candidates of a sweep that may fail in a row, besides one per expert.
    """

    grace_seconds: float = 0.2
    price_share: float = 0.25
    improve_work: float = 1 << 28
    flow_work: float = 1 << 26
    expert_work: float = 1 << 28
    escapes: int = 40
    escape_factor: float = 1.5
    small_pairs: int = 1 << 14
    fresh_starts: int = 4
    kicks: int = 20
    kick_share: float = 0.2
    block_bytes: int = 8 << 20
    swap_rounds: int = 3
    fill_rounds: int = 80
    asked: int = 8
    least_asked: int = 500
    sample_entries: int = 1 << 18
    load_rounds: int = 30
    step_decay: float = 0.85
    later_step: float = 0.1
    shift_part: float = 0.7
    shift_halvings: int = 10
    turn_share: float = 0.07
    turn_clients: int = 8
    turn_entries: int = 1 << 18
    turn_step: float = 0.1
    price_rounds: int = 150
    blurred_part: float = 0.8
    first_blur: float = 1.0
    last_blur: float = 0.001
    price_reach: float = 0.5
    regret_share: float = 0.1
    first_share: float = 0.5
    table_entries: int = 1 << 23
    table_experts: int = 2048
    cycle_experts: int = 256
    rotation_clients: int = 512
    matched_clients: int = 32
    rotation_work: int = 16000
    clients_per_entry: int = 8
    failures: int = 50


#: What is taken where nothing else is given.
DEFAULTS = GreedyParams()


@dataclass(eq=False)
class WorkBudget:
    """What a search may still spend.

    Attributes
    ----------
    deadline : float
        Value of ``time.perf_counter()`` at which to stop.
    work : float
        Table entries that may still be read, so that results do not depend on
        the machine's speed.
    wish : callable, or None
        Whether the caller wants it to stop.
    """

    deadline: float = math.inf
    work: float = math.inf
    wish: Callable[[], bool] | None = None

    def is_spent(self) -> bool:
        """Tell whether to stop."""
        if self.work <= 0 or time.perf_counter() > self.deadline:
            return True
        return self.wish is not None and self.wish()

    def blocks(self, n_rows: int, n_cols: int) -> Iterator[slice]:
        """Yield blocks of rows to read, and charge for them, until all is spent."""
        for block in row_blocks(n_rows, n_cols):
            if self.is_spent():
                return
            self.work -= (block.stop - block.start) * n_cols
            yield block
