"""Plays ComfyUI v0.3.64: its command line, HTTP and websocket interface, queue, history, cache and 37 nodes.

`python emulators/comfyui/main.py --port 8188` is started like ComfyUI's own main.py; `ComfyUIEmulator` is the
same inside a test.

How it was checked: tests/emulators/test_comfyui_contract.py asks the same of this program and of a real
ComfyUI (on a CPU) and expects the same answers. What was observed there, and where it is imitated:

- validate.py: the JSON of every refusal; outputs that can run do so beside others that cannot; values are
  converted in place; choices of nodes written for the new interface (UpscaleModelLoader) are not checked, so
  that a missing upscale model is an `execution_error` and no refusal.
- order.py, progress.py: the order of nodes and messages; `execution_success` comes before /history holds the
  prompt, and `executing` with node null after that.
- cache.py: nodes are recognised by what they depend on; only what the latest prompt contains is kept, with
  --cache-lru more, with --cache-none nothing; the fingerprint of a loaded image is written into the prompt
  (`is_changed`) and so into saved files.
- execute.py: an interrupt is noticed between nodes and steps; errors carry the inputs as text.
- sockets.py: a client that comes back hears which node runs; when an old connection of a client id ends, a newer
  one of that id goes silent too.
- prompt_queue.py, folders.py, routes_*.py, saving.py: numbers and places in the queue, model folders and
  extra paths, names of uploads and outputs, refused paths, PNG metadata.
- picture.py, resample.py, nodes_image.py: pixels, computed with 32-bit floats as torch does.
- options.py: every flag; like the real one, it does not start if the base directory lacks `custom_nodes`.

What is not real: models are only opened (weights.py) and what a sampler would give is drawn from its seed, texts,
pictures and settings (drawing.py): no contract test runs a model. An upscale model always enlarges four times.
Videos, sound and latents are stand-ins (nodes_media.py), and of VHS_VideoCombine, which is not ComfyUI's own, only
what it reports is true. For a long job let each KSampler step take time (`step_seconds`). There is no user
interface; tooltips and descriptions are left out; outputs are in the order of the prompt where ComfyUI's order is
by chance; without --base-directory a temporary folder is used. Tracebacks are those of this program.
"""

from emulators.comfyui.emulator import ComfyUIEmulator

__all__ = ["ComfyUIEmulator"]
