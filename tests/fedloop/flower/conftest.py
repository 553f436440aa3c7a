"""Leave out of the doctests what only Flower's processes, or tests with Flower, import."""

collect_ignore = ["faulty", "replies.py"]
