"""Which tests need etcd."""

import os

import pytest
from faulting.etcd import SERVER

needs_etcd = pytest.mark.skipif(
    SERVER is None and not os.environ.get("CI"),
    reason="etcd is not installed",
)
"""Skips where etcd is not installed; where CI is set, such tests fail instead."""
