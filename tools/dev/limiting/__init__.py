"""Parts of ``check_limits.py``."""
