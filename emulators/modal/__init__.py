"""Modal's control plane and its workers, on loopback, for the unmodified client and container runtime.

Plays the private gRPC protocol of **modal 1.6.4** (`modal.client.ModalClient` in `modal_proto`) as far as
`modal deploy`, `modal run`, `Cls.from_name`/`Function.from_name`, `FunctionCall` and web functions ask for it.
The protocol is not public and changes between releases: use it with that version only.

- Deploying: the order of RPCs and the fields the client insists on (`function_data` with a ranked function,
  method handles with `use_method_name`) were read off runs of the real client.
- Images: nothing is built. Layers, context files and build arguments are recorded; a build ends with an error
  where Modal's builder would (`emulators/modal_builder` says on what grounds). ENTRYPOINT is recorded, never run.
- Containers: the real `modal._container_entrypoint` in the local Python, with the uploaded files, Volumes,
  Secrets and the image's ENV in place (`containers.py`). What the image installs is not there: the
  container sees this machine's packages. No GPU is given and no CPU or memory limit set.
- Scaling: containers start when inputs wait, up to `max_containers` and the emulator's own cap, and end
  after `scaledown_window`; `min_containers`, concurrency, retries, timeouts and cancelling are kept.
- Volumes: a container sees what was committed when it started, and its own changes; others' after `reload`, which is
  refused while files are open (Linux). Commits happen when asked for, every few seconds, and at the container's end.
  Not played: limits of v1 (inodes, five committers), a Volume that looks empty while it reloads.
- Secrets: given to the emulator; unknown names and missing required keys are refused, as by the service.
- Dicts: one store per name; entries do not grow old by themselves.
- Commands in a running container (`modal container exec`): without a terminal and without input.
- Web: one loopback port per web function, through ASGI in the real runtime, WebSockets too; 303 after 150 s
  (Modal's guide).
- Memory snapshots: for deployed Apps the runtime goes through its checkpoint and restore steps between the two
  kinds of enter hooks (connections closed, client made anew); no memory is saved, GPU snapshots are left out.
  Connections that lead out of a container just then are recorded.

Assumed, because no client run shows it: the list of GPU names and the limit of 8, v1 for a Volume without a
version, that a commit with open files succeeds and skips the reload, that times survive a commit to the
nanosecond, NOT_FOUND for missing Secret keys, the texts of refusals, timeouts and web errors, and the name of
the 303's query parameter. Do not build on them.

Checked against the real client and runtime of modal 1.6.4 on Python 3.11; never against the real service.
"""

from emulators.modal.platform import ModalEmulator

__all__ = ["ModalEmulator"]
