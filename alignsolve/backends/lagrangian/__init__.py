"""The hard class: a Lagrangian bound, answers guided by its prices, and an exact end.

The loads are priced and each client solves its own knapsack (`bound`, with
`multidimensional_knapsack` and `simplex`, or `knapsack`). Many clients: prices by
`dual_mirror_descent` and `proximal_newton`, answers by `best_response_search`. Generalized
assignment: prices by `subgradient`, answers and proofs by `gap_search` and `tree`.
`pipeline` steers them.
"""
