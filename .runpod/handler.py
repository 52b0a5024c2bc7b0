"""RunPod's Hub asks for a handler.py here or at the top; the image runs src/handler.py, which is the same."""

from comfyport.serve.door import main
from comfyport.serve.host import handler

__all__ = ["handler"]

if __name__ == "__main__":
    main()
