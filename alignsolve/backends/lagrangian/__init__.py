"""The hard class: a Lagrangian bound, answers guided by its prices, and an exact end.

The loads are priced and each client solves its own knapsack (`bound`, with `sets` and
`simplex`, or `knapsack`). Many clients: prices by `haggle` and `market`, answers by
`fleet`. Generalized assignment: prices by `ascent`, answers and proofs by `jobs` and
`tree`. `pipeline` steers them.
"""
