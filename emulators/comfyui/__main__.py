"""`python -m emulators.comfyui` does what main.py does."""

import sys

from emulators.comfyui.program import main

sys.exit(main())
