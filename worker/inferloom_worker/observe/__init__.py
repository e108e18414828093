"""What a worker shows of its work: the access log and the metrics. They only listen."""
