"""Engines turn token ids into more token ids: one protocol, several implementations."""
