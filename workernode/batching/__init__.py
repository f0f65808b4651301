"""Micro-batches: what waits, what is served together, and what it takes (docs/batching.md)."""
