"""From tokens to the events of the contract."""
