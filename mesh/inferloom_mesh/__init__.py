"""What every Inferloom service on the wire shares: errors, servers, channels, settings and process life."""

from importlib.metadata import version

__version__ = version("inferloom")
