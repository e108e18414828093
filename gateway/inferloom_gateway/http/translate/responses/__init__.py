"""Between OpenAI's responses and the contract: items to turns, and events to items and typed events."""
