"""Tests of ``inferloom.client``."""
