"""What the programs that need a GPU share."""
