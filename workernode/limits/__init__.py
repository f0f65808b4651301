"""What bounds a node's calls: the provider's limits, its strength, and its being there. Pure: the clock comes in."""
