"""What is asked of every engine by the SDK of OpenAI, and what must be true of the answers."""
