"""One call to a worker: dispatch, retries, in-flight accounting and the stream of its events."""
