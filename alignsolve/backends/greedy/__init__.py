"""The greedy backend: an answer soon, repaired and improved by exchanges."""
