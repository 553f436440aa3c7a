"""What the server does after a round: `aggregation`, then a step of one of `optimisers`."""
