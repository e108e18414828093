"""Resumable streams as server-sent events."""
