"""Clients and workloads, over HTTP alone."""
