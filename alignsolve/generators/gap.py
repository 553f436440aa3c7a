"""Generalised assignment problems of types A to E, by the published recipes.

Agents are clients with a budget, jobs are experts that exactly one client must
hold; cost is minimised. Types A and B go back to Ross and Soland, C and D to
Martello and Toth, and E to Laguna et al.; the rounding (whole numbers, budgets
rounded down) is that of the files in common use. The numbers drawn are our
own: these are further problems of the same types, not the published ones. The
recipes do not promise that there is an answer.

References
----------
G. T. Ross and R. M. Soland, "A branch and bound algorithm for the generalized
assignment problem", Mathematical Programming 8, 1975, doi:10.1007/BF01580430

S. Martello and P. Toth, "An algorithm for the generalized assignment problem",
in Operational Research '81, North-Holland, 1981, pp. 589-603; and chapter 7 of
"Knapsack Problems", Wiley, 1990

M. Laguna, J. P. Kelly, J. L. Gonzalez-Velarde and F. Glover, "Tabu search for
the multilevel generalized assignment problem", European Journal of Operational
Research 82, 1995, doi:10.1016/0377-2217(93)E0174-V

P. C. Chu and J. E. Beasley, "A genetic algorithm for the generalised assignment
problem", Computers & Operations Research 24, 1997,
doi:10.1016/S0305-0548(96)00032-9

M. Yagiura, T. Ibaraki and F. Glover, "An ejection chain approach for the
generalized assignment problem", INFORMS Journal on Computing 16, 2004,
doi:10.1287/ijoc.1030.0036
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from functools import cache, partial

import numpy as np

from alignsolve.generators.draws import Draws
from alignsolve.generators.family import Family, Parameter
from alignsolve.model.arrays import IntArray
from alignsolve.model.problem import AlignmentProblem, Resource


def _uniform(draws: Draws, shape: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """Return costs of 10 to 50 and sizes of 5 to 25, as in types A, B and C."""
    return draws.stream("cost").whole(10, 50, shape), draws.stream("size").whole(5, 25, shape)


def _cheap_if_large(draws: Draws, shape: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """Return sizes, and costs that are low for large jobs: type D, the hard one."""
    size = draws.stream("size").whole(1, 100, shape)
    return 111 - size + draws.stream("cost").whole(-10, 10, shape), size


@cache
def _exponential_steps() -> IntArray:
    """Return ``floor(2**32 exp(-k / 10))`` for k = 1, 2, ..., ascending, down to 1.

    Decimal arithmetic rounds exp correctly, so the table is the same on every
    machine; the libraries of mathematics behind numpy do not promise that.
    """
    context, steps = Context(prec=40), list[int]()
    while not steps or steps[-1] > 1:
        steps.append(int(2**32 * (Decimal(-len(steps) - 1) / 10).exp(context)))
    return np.array(steps[::-1], dtype=np.int64)


def _exponential(draws: Draws, shape: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """Draw sizes from an exponential distribution, with cost about ``1000 / size``: type E."""
    steps = _exponential_steps()
    # u = e / 2**32 in (0, 1]: floor(1 - 10 ln u) is 1 and the number of steps not below e.
    e = draws.stream("size").whole(1, 2**32, shape)
    size = 1 + steps.size - np.searchsorted(steps, e, side="left")
    # floor(1000 / size - 10 u), in whole numbers throughout.
    e = draws.stream("cost").whole(1, 2**32, shape)
    return (1000 * 2**32 - 10 * e * size) // (size * 2**32), size


def _type_a_budget(cost: IntArray, size: IntArray, tenths: int = 10) -> IntArray:
    """Return `tenths` of a tenth of ``9 n/m + 0.4 R``: ten for type A, seven for type B.

    R is the largest total size that an agent gets if every job goes where it
    is cheapest.
    """
    agents, jobs = cost.shape
    cheapest = cost.argmin(axis=0)
    use = np.zeros(agents, dtype=np.int64)
    np.add.at(use, cheapest, size[cheapest, np.arange(jobs)])
    numerator = 45 * jobs + 2 * agents * int(use.max())
    return np.full(agents, tenths * numerator // (50 * agents))


def _share_of_work(cost: IntArray, size: IntArray) -> IntArray:
    """Return the budgets of types C, D and E: 0.8 of an agent's sizes over the agents."""
    budget: IntArray = 8 * size.sum(axis=1) // (10 * size.shape[0])
    return budget


#: By type: what it is, what draws costs and sizes, and what makes budgets of them.
_RECIPES: dict[str, tuple[
    str,
    Callable[[Draws, tuple[int, int]], tuple[IntArray, IntArray]],
    Callable[[IntArray, IntArray], IntArray],
]] = {
    "a": ("cost 10-50, size 5-25, generous budgets: easy", _uniform, _type_a_budget),
    "b": ("type A with 70% of its budgets", _uniform, partial(_type_a_budget, tenths=7)),
    "c": ("cost 10-50, size 5-25, budgets 0.8 of the mean work", _uniform, _share_of_work),
    "d": ("large jobs are cheap, budgets 0.8 of the mean work: the hard type", _cheap_if_large,
          _share_of_work),
    "e": ("exponential sizes, cost about 1000/size, budgets 0.8 of the mean work", _exponential,
          _share_of_work),
}


def _build(letter: str, draws: Draws, *, agents: int, jobs: int) -> AlignmentProblem:
    _, work, budgets = _RECIPES[letter]
    cost, size = work(draws, (agents, jobs))
    return AlignmentProblem.from_cost(
        cost.astype(np.float64),
        jobs,
        load_min=1,
        load_max=1,
        resources={"capacity": Resource(size, budgets(cost, size))},
    )


FAMILIES = tuple(
    Family(
        f"gap-{letter}",
        f"Generalised assignment of type {letter.upper()} (min): {description}.",
        (
            Parameter("agents", 10, "number of agents, the clients", 1, 100_000),
            Parameter("jobs", 60, "number of jobs, the experts", 1, 100_000),
        ),
        partial(_build, letter),
        feasible=None,
        tables=(("agents", "jobs"),),
    )
    for letter, (description, _, _) in _RECIPES.items()
)
