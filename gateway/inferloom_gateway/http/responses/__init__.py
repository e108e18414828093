"""Responses as they are made, kept, fetched and given up."""
