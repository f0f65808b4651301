"""Real parts and how each is had: embedded Postgres, Apache Pulsar, a tiny model."""
