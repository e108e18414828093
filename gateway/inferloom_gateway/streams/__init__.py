"""Streams that outlive their connections, and go on at any gateway that shares the store."""
