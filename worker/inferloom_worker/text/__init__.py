"""Text to tokens and back: tokenizers, chat templates, incremental detokenising and stop strings."""
