"""Whether an ENTRYPOINT runs the arguments that it is given, as Modal needs it: its own program comes as such."""

import json
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from emulators.modal_builder.context import Context
from emulators.modal_builder.dockerfile import Instruction, flags_and_words

# They run what stands behind them.
_WRAPPERS = frozenset({"tini", "dumb-init", "catatonit", "env", "nice"})
_INTERPRETERS = frozenset({"sh", "bash", "dash", "python", "python3"})
# Of well-known images; they end in exec "$@".
_KNOWN = frozenset({"docker-entrypoint.sh", "nvidia_entrypoint.sh"})
_HANDS_ON = re.compile(r"^(?!\s*#).*(\bexec\b.*\$(@|\{@\})|\bos\.exec[lv])", re.MULTILINE)


def failing(text: str, steps: Sequence[Instruction], context: Context) -> str | None:
    """Why the ENTRYPOINT `text` would not run its arguments; None if it does, or if there is none.

    `steps` are the instructions of the image, in which the script is looked for.
    """
    if not text.startswith("["):
        return "The shell form of ENTRYPOINT drops the arguments, and Modal's own program comes as such."
    try:
        words = [str(word) for word in json.loads(text)]
    except ValueError:
        return "This is no JSON list, so Docker takes it for a shell command, which drops the arguments."
    words = _behind(words, _WRAPPERS)
    if words and PurePosixPath(words[0]).name in _INTERPRETERS:
        if "-c" in words[:-1]:
            command = words[words.index("-c") + 1]
            return None if _HANDS_ON.search(command) else f"`{command}` drops the arguments."
        words = _behind(words, _INTERPRETERS)
        if not words:
            return "It gives Modal's own program to an interpreter as if that were a script."
    if not words:
        return None
    program = words[0]
    scripts = [script for source in _copied_from(program, steps) if (script := context.read(source)) is not None]
    if scripts:
        return None if _HANDS_ON.search(scripts[0]) else f'{program} does not exec "$@".'
    if PurePosixPath(program).name in _KNOWN:
        return None
    return f"{program} is not in the build context, so nothing shows that it runs its arguments."


def _behind(words: list[str], programs: frozenset[str]) -> list[str]:
    """What is left when a leading program of that kind and its options are taken away."""
    if not words or PurePosixPath(words[0]).name not in programs:
        return words
    if "--" in words:
        return words[words.index("--") + 1 :]
    return [word for word in words[1:] if not word.startswith("-")]


def _copied_from(program: str, steps: Sequence[Instruction]) -> Iterator[str]:
    """The files of the context that may lie at `program`, those of the last COPY first."""
    for step in reversed(steps):
        if step.word != "COPY":
            continue
        flags, words = flags_and_words(step.text)
        if any(flag.startswith("--from=") for flag in flags):
            continue
        *sources, target = words or [""]
        for source in sources:
            yield from _candidates(PurePosixPath(program), PurePosixPath(source), PurePosixPath(target))


def _candidates(program: PurePosixPath, source: PurePosixPath, target: PurePosixPath) -> Iterator[str]:
    # A path from the WORKDIR or from PATH is told by its name alone.
    relative = not (program.is_absolute() and target.is_absolute())
    if program == target or (relative and program.name == target.name):
        yield str(source)
    if fnmatchcase(program.name, source.name) and (relative or program.parent == target):
        yield str(source.parent / program.name)
    if not relative and program.is_relative_to(target):
        yield str(source / program.relative_to(target))
