"""The proof: best responses to prices, the dual bound, the exchange graph, and the verdict."""
