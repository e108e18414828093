"""The gateway: OpenAI JSON and SSE outside, gRPC streams inside, and the choice of a worker between them."""
