"""What the gateway shows of its work: the access log and the metrics. They only listen."""
