"""What answers have beside what OpenAI's have."""
