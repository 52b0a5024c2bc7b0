"""The housekeeping of a deployment: what `modal run` does without a GPU, in a container and where it was typed."""
