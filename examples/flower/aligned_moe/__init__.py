"""A Flower app whose clients train only the experts that suit them."""
