"""What a client does in a round: `client` defines it, `executors` say for whom, `runners` how."""
