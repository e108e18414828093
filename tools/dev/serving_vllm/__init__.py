"""vLLM in workers and beside them: how it is started, killed and measured."""
