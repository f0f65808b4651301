"""Task graphs as such: what they describe, what may run next, what became of each node. Pure."""
