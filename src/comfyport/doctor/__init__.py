"""What is right with a machine, a volume and their settings, what is not, and what to do about it."""
