"""The arguments that a user may add to ComfyUI's command line: all but those that would take it away from comfyport."""

import shlex

_FOLDERS = (
    "comfyport puts and finds a job's files in folders of its own; COMFYPORT_RUN_DIR and COMFYPORT_VOLUME move them"
)
_TLS = "comfyport talks to ComfyUI over plain http inside the container; give TLS to what stands before its HTTP door"

# What comes last on a command line wins, so each of these would break every job, or open ComfyUI to all without a key.
_REFUSED = {
    "--listen": "ComfyUI answers anybody without a key, so it listens on 127.0.0.1 only; HOST moves the HTTP door",
    "--port": "set COMFYUI_PORT instead",
    "--tls-keyfile": _TLS,
    "--tls-certfile": _TLS,
    "--base-directory": _FOLDERS,
    "--output-directory": _FOLDERS,
    "--input-directory": _FOLDERS,
    "--temp-directory": _FOLDERS,
    "--user-directory": _FOLDERS,
}


def parsed(text: str) -> tuple[str, ...]:
    """The arguments in `text`, quoted as for a shell. Raises ValueError with what to do instead of a refused one."""
    arguments = tuple(shlex.split(text))
    for argument in arguments:
        name = argument.partition("=")[0]
        # ComfyUI's argparse takes the beginning of an option's name for the whole.
        meant = [refused for refused in _REFUSED if len(name) > 2 and refused.startswith(name)]
        if meant:
            raise ValueError(f"{meant[0]} cannot be given to ComfyUI: {_REFUSED[meant[0]]}")
    return arguments
