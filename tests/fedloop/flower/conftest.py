"""Leave out of the doctests what only Flower's processes, or tests with Flower, import."""

collect_ignore = ["faulty", "faulty_lm", "replies.py", "restricted.py"]
