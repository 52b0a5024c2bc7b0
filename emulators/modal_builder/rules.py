"""The rules: which instruction Modal refuses, leaves out or breaks on, why, and what to do about it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from emulators.modal_builder import entrypoint
from emulators.modal_builder.context import Context, inside
from emulators.modal_builder.dockerfile import HEREDOC, Instruction, built_stages, flags_and_words, instructions

Effect = Literal["refused", "ignored", "no start"]

# The flags of COPY that modal 1.6.4's client knows (modal/_utils/docker_utils.py).
_COPY_FLAGS = ("--from", "--chmod", "--chown", "--link")
_DEFAULT_VALUE = re.compile(r"\$\{\w+:?[-+?]")
_MOUNT = re.compile(r"--mount=(\S+)")
# Images without Python. Of others nothing is known here, and nothing is said.
_BARE = re.compile(
    r"(docker\.io/)?(library/)?(scratch|debian|ubuntu|alpine|busybox|fedora|rockylinux|almalinux|nvidia/cuda)([:@].*)?"
)
_NOT_BUILT = {
    "EXPOSE": "Remove it: Modal opens ports by what the app's code says.",
    "HEALTHCHECK": "Remove it: Modal watches its containers itself.",
    "LABEL": "Remove it, and give labels where other images are built (`docker build --label`).",
    "ONBUILD": "Remove it, and write the instruction into the Dockerfiles that build on this one.",
    "STOPSIGNAL": "Remove it: Modal sends SIGINT to what it runs.",
    "VOLUME": "Remove it: the app's code mounts Volumes.",
}


@dataclass(frozen=True)
class Problem:
    """A construct that does not work on Modal.

    `effect`: "refused" (deploying or building ends there), "ignored" (it is left out without a word) or "no start"
    (it builds, and its containers do not run what they should).
    """

    line: int
    construct: str
    text: str
    effect: Effect
    reason: str
    advice: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}\n{self.reason} {self.advice}"


def problems(commands: Sequence[str], context: Context) -> list[Problem]:
    """Everything in a Dockerfile (its lines) that Modal would not do as Docker does, in the order of the lines."""
    steps = instructions(commands)
    found = [problem for step in steps for problem in _of_instruction(step, context)]
    return sorted([*found, *_of_whole(commands, context)], key=lambda problem: problem.line)


def first_refusal(commands: Sequence[str], context: Context) -> Problem | None:
    """The first instruction that a build ends at."""
    steps = instructions(commands)
    found = (problem for step in steps for problem in _of_instruction(step, context))
    return next((problem for problem in found if problem.effect == "refused"), None)


def _of_instruction(step: Instruction, context: Context) -> Iterator[Problem]:
    if step.word in _NOT_BUILT:
        yield _refused(step, step.word, f"Modal's builder does not implement {step.word}.", _NOT_BUILT[step.word])
    elif step.word == "COPY":
        yield from _of_copy(step, context)
    elif step.word == "ADD":
        yield from _of_add(step)
    elif step.word == "RUN":
        yield from _of_run(step)
    elif step.word == "FROM":
        yield from _of_from(step)
    elif step.word == "ENV" and _DEFAULT_VALUE.search(step.text):
        reason = "Modal's builder does not support default values (${NAME:-value}) in ENV."
        yield _refused(step, "ENV ${NAME:-value}", reason, "Write the value out, or give the default to an ARG.")
    elif step.word == "USER":
        advice = "Remove it, and let nothing depend on who runs it."
        yield Problem(step.line, "USER", str(step), "ignored", "Modal runs everything as root.", advice)


def _of_copy(step: Instruction, context: Context) -> Iterator[Problem]:
    if HEREDOC.search(step.text):
        advice = "COPY a file, or write it with RUN printf."
        yield _refused(step, "COPY <<", "Modal does not build a COPY with a here-document.", advice)
        return
    flags, words = flags_and_words(step.text)
    for flag in flags:
        if (name := flag.partition("=")[0]) not in _COPY_FLAGS:
            advice = "Leave files out with .dockerignore." if name == "--exclude" else "Do without it."
            yield _refused(step, f"COPY {name}", f"Modal's client does not know {name} on COPY.", advice)
    if any(flag.startswith("--from=") for flag in flags):
        return
    if words and words[0].startswith("["):
        advice = "Write it without brackets; no path may hold a space."
        yield _refused(step, "COPY [...]", "Modal's client does not read the JSON form of COPY.", advice)
        return
    missing = []
    for source in words[:-1]:
        if "$" in source:
            advice = "Name the file."
            yield _refused(step, "COPY $VARIABLE", f"Modal's client does not fill in {source}.", advice)
        elif inside(source).startswith(".."):
            advice = "Move the file into the context, or pass a context_dir that holds it."
            yield _refused(step, "COPY ../", f"{source} lies outside of the build context.", advice)
        elif not context.holds(source):
            missing.append(source)
    if missing:
        reason = f"{', '.join(missing)}: not found in the build context."
        yield _refused(step, "COPY of what is not there", reason, "Correct the path, or let it through .dockerignore.")


def _of_add(step: Instruction) -> Iterator[Problem]:
    _, words = flags_and_words(step.text)
    if not all(source.startswith(("http://", "https://")) for source in words[:-1]):
        reason = "ADD finds no local files: the Modal client uploads what COPY names."
        yield _refused(step, "ADD of a local file", reason, "Use COPY, and RUN tar for an archive.")
    elif len(words) > 2:
        yield _refused(
            step, "ADD of several URLs", "Modal's builder adds one URL at a time.", "Write one ADD for each."
        )


def _of_run(step: Instruction) -> Iterator[Problem]:
    for mount in _MOUNT.findall(step.text):
        options = dict(option.partition("=")[::2] for option in mount.split(","))
        # bind is what Docker takes a mount without a type for.
        if options.get("type", "bind") == "bind" and "from" not in options:
            reason = "RUN --mount=type=bind finds no context: the Modal client uploads what COPY names."
            yield _refused(step, "RUN --mount=type=bind", reason, "COPY the files first.")


def _of_from(step: Instruction) -> Iterator[Problem]:
    flags, _ = flags_and_words(step.text)
    wrong = [flag for flag in flags if flag.startswith("--platform=") and "$" not in flag and "amd64" not in flag]
    if wrong:
        advice = "Remove it, or write --platform=linux/amd64."
        yield _refused(step, "FROM --platform", "Modal runs images for linux/amd64 only.", advice)


def _of_whole(commands: Sequence[str], context: Context) -> Iterator[Problem]:
    """What shows only in all the instructions that the image is made of: those of its last stage and below."""
    stages = built_stages(commands)
    if not stages:
        return
    steps = [step for stage in stages for step in stage.steps]
    origin = stages[0].origin
    made = " ".join(step.text for step in steps)
    if _BARE.fullmatch(stages[0].base):
        for program, sign in (("python", r"python"), ("pip", r"\bpip|venv|conda")):
            if not re.search(sign, made):
                reason = f"Modal needs python and pip on PATH, and nothing here puts {program} on {stages[0].base}."
                advice = 'Install it, start from python:3.x, or deploy with from_dockerfile(..., add_python="3.12").'
                yield Problem(origin.line, f"an image without {program}", str(origin), "no start", reason, advice)
                break
    entry = next((step for step in reversed(steps) if step.word == "ENTRYPOINT"), None)
    failing = entrypoint.failing(entry.text, steps, context) if entry else None
    if entry and failing:
        advice = 'Let it end in `exec "$@"`, or deploy with `.entrypoint([])` after from_dockerfile.'
        construct = 'an ENTRYPOINT without exec "$@"'
        yield Problem(entry.line, construct, str(entry), "no start", failing, advice)


def _refused(step: Instruction, construct: str, reason: str, advice: str) -> Problem:
    return Problem(step.line, construct, str(step), "refused", reason, advice)
