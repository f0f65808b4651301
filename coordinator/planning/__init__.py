"""The planner of pipelines at work: loads come in, batch sizes and orders of workers go out."""
