"""What is asked: the problem, its bounds, its identity, and where its values come from."""
