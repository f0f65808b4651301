"""Benchmarks on real parts. `python -m bench --help`; docs/benchmarks.md says what the figures mean."""
