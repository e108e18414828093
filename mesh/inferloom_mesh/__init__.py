"""What every Inferloom service on the wire shares: errors, servers, channels, settings and process life."""

__version__ = "0.1.0"
