"""Pipelines under an SLO: what a batch takes, what still can make it, how many workers it needs. Without I/O."""
