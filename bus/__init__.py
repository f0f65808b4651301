"""The bus: one port, two brokers (Apache Pulsar; Postgres for the embedded default), and the wire messages."""
