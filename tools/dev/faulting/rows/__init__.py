"""The rows, a module for each noun that something is done to."""
