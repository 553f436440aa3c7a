"""Leave the apps that only Flower's processes import out of the doctests."""

collect_ignore = ["faulty"]
