"""What `python -m benchmarks.fuzz` runs: targets, seeds, mutations, and the process that tries."""
