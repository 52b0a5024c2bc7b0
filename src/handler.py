"""The shared handler: a job in, its answer out. Run as a program, it is the worker: RunPod's, or the HTTP one."""

from comfyport.serve.door import main
from comfyport.serve.host import handler

__all__ = ["handler"]

if __name__ == "__main__":
    main()
