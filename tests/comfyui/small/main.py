"""A ComfyUI in small: it decides by its GPU as it starts, and answers as the emulator of ComfyUI does."""

import importlib.util
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[3]))
importlib.util.find_spec("torch")  # as cuda_malloc.py does, to no end
if __name__ == "__main__":
    import torch
    from comfy import model_management
    from torch.cuda import is_available

    from emulators.comfyui.program import main

    try:
        torch.cuda.get_device_capability()
    except RuntimeError as error:
        print(f"a node decides: {error}", flush=True)  # noqa: T201
    print(f"started with available={is_available()}", flush=True)  # noqa: T201
    status = main()
    vram = getattr(model_management, "total_vram", None)
    print(f"ended with available={is_available()} vram={vram}", flush=True)  # noqa: T201
    sys.exit(status)
