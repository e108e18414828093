"""What is asked of vLLM in workers."""
