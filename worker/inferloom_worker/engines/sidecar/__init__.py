"""Model servers that run beside a worker and are spoken to over HTTP."""
