"""A fleet that serves a pipeline, simulated by its events; the fleet's own rules decide (docs/simulator.md)."""
