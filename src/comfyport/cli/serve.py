"""`comfyport serve`: the worker, behind the door that the platform asks for."""

from comfyport.serve.door import run


def serve() -> None:
    """Start ComfyUI and take jobs: from RunPod if its job address is set, else over HTTP."""
    run()
