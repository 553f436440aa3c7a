"""The hard class: a Lagrangian bound, answers guided by its prices, and an exact core.

The loads are priced and each client solves its own knapsack (`bound`); answers
are built and improved at those prices (`fleet`, `jobs`); what the bound cannot
rule out goes to an exact solver (`core`). `pipeline` steers them.
"""
