"""The doors: they translate between a platform and the worker, nothing else."""
