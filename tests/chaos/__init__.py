"""Chaos: a real fleet carries out task graphs while its parts are killed and stopped; then the books are compared."""
