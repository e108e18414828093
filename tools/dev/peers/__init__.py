"""What `bench_peers` is made of: the peers, the models in their formats, and the works that they do."""
