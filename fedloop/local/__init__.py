"""What a client does in a round: `client` defines it once, `executors` say for whom and how."""
