"""Pipelines under an SLO: their descriptions, their door, and what waits before each of their stages."""
