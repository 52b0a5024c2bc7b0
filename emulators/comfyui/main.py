"""Starts the emulator the way ComfyUI's main.py is started: `python main.py --port 8188`, from any folder."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:] = [str(HERE.parents[1]), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

    from emulators.comfyui.program import main

    sys.exit(main())
