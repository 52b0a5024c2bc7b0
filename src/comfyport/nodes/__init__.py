"""Custom nodes of ComfyUI: the lock that pins them, fetching, their Python packages, and where they lie."""
