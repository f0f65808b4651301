"""A provider double: a real HTTP server that keeps the rules of the OpenAI API, and breaks them when told to."""
