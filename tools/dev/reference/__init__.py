"""What the pages under docs/reference are made of."""
