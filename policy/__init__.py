"""Whose work is next, and how much of it may be on its way: rules without I/O."""
