"""The REST door: OpenAI JSON and server-sent events in front of the mesh."""
