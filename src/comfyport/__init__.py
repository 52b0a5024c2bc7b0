"""comfyport: one slim image that runs ComfyUI on any GPU cloud and fetches its models when it starts."""

__version__ = "0.1.0"
