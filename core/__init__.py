"""What every part shares: the tree of errors, batching at borders, settings, logs. Imports nothing of ours."""
