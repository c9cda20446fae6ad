"""The server: an OpenAI-compatible API and a chat page, from a bundle."""
