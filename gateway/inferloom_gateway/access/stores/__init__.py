"""Where keys, policies and usage are kept, for all gateways together."""
