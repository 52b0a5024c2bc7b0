"""The lock, the volume and the downloads that bring one to the other."""
