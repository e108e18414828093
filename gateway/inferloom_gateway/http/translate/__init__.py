"""Between OpenAI's JSON and the contract's messages. Pure functions and small folds; no I/O."""
