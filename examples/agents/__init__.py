"""Agents on AgentOS: a graph of calls each, run with `python -m examples.agents.<name> --url URL --model MODEL`."""
