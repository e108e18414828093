"""What `bench_quality` is made of: a fixed text, distributions over its next tokens, and their distance."""
