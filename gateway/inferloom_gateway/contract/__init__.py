"""The native contract at the gateway: its methods, as every door of it calls them."""
