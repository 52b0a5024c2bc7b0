"""Measurements of comfyport against other tools, each one command: see README.md."""


class CannotMeasureError(Exception):
    """Something that a measurement needs is not there; the message says what, and what to do."""
