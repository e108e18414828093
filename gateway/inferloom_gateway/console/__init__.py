"""The page at ``/console``: what the gateway knows, live, and a place to try it."""
