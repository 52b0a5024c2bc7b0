"""What Modal's builder does not take is found in a Dockerfile, each construct at its line with what to do about it."""

import subprocess
import sys
from pathlib import Path

import pytest

from emulators.modal_builder import dockerfile
from emulators.modal_builder.check import check
from emulators.modal_builder.context import Uploaded
from emulators.modal_builder.rules import Problem, first_refusal
from tests.conftest import ROOT

HANDS_ON = '#!/bin/sh\nif [ "$#" -gt 0 ]; then exec "$@"; fi\nserve\n'
TAKEN = [
    "COPY settings.txt /opt/",
    "COPY --chmod=755 --chown=1:1 --link src/start.sh /start.sh",
    "COPY src /opt/src",
    "COPY ./src/app/ /opt/app",
    "COPY src/*.sh /opt/",
    "COPY . /opt/",
    "COPY --from=build /made/$where /opt/",
    "ADD https://example.com/file /opt/file",
    "RUN --mount=type=cache,target=/root/.cache pip install x",
    "RUN --mount=type=bind,from=build,target=/src make",
    "ENV PLACE=${HOME}/here",
    "ARG PLACE=${HOME:-/root}",
    "RUN echo ${PLACE:-here}",
    "FROM --platform=linux/amd64 python:3.12",
    'ENTRYPOINT ["/opt/src/start.sh"]\nCOPY src /opt/src',
    'ENTRYPOINT ["tini", "-g", "--", "/start.sh"]\nCOPY src/start.sh /',
    'ENTRYPOINT ["bash", "start.sh"]\nCOPY src/*.sh .',
    'ENTRYPOINT ["/bin/sh", "-c", "cd /opt; exec \\"$@\\"", "--"]',
    'ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]',
    'ENTRYPOINT ["serve"]\nENTRYPOINT []',
]
# A construct, a Dockerfile that uses it in its third line, what happens on Modal, a word of the advice.
NOT_TAKEN = [
    ("COPY --exclude", "COPY --exclude=*.md . /opt/", "refused", ".dockerignore"),
    ("COPY --parents", "COPY --parents src/start.sh /opt/", "refused", "without it"),
    ("COPY $VARIABLE", "COPY $FILE /opt/", "refused", "Name the file"),
    ("COPY $VARIABLE", "COPY src/${FILE} /opt/", "refused", "Name the file"),
    ("COPY ../", "COPY ../settings.txt /opt/", "refused", "context_dir"),
    ("COPY ../", "COPY src/../../settings.txt /opt/", "refused", "context_dir"),
    ("COPY [...]", 'COPY ["settings.txt", "/opt/"]', "refused", "without brackets"),
    ("COPY <<", "COPY <<EOF /opt/note\nhello\nEOF", "refused", "RUN printf"),
    ("COPY of what is not there", "COPY settings.txt \\\n  missing.txt /opt/", "refused", "Correct the path"),
    ("COPY of what is not there", "COPY other/ /opt/", "refused", ".dockerignore"),
    ("COPY of what is not there", "COPY secret.txt /opt/", "refused", ".dockerignore"),
    ("ADD of a local file", "ADD settings.txt /opt/", "refused", "Use COPY"),
    ("ADD of several URLs", "ADD https://example.com/a https://example.com/b /opt/", "refused", "one ADD for each"),
    ("RUN --mount=type=bind", "RUN --mount=type=bind,target=/src make", "refused", "COPY the files first"),
    ("RUN --mount=type=bind", "RUN --mount=target=/src make", "refused", "COPY the files first"),
    ("ENV ${NAME:-value}", "ENV PLACE=${PLACE:-here}", "refused", "Write the value out"),
    ("FROM --platform", "FROM --platform=linux/arm64 python:3.12", "refused", "linux/amd64"),
    ("EXPOSE", "EXPOSE 8000", "refused", "Remove it"),
    ("HEALTHCHECK", "HEALTHCHECK CMD true", "refused", "Remove it"),
    ("LABEL", "LABEL a=b", "refused", "--label"),
    ("ONBUILD", "onbuild RUN true", "refused", "Remove it"),
    ("STOPSIGNAL", "STOPSIGNAL SIGTERM", "refused", "Remove it"),
    ("VOLUME", "VOLUME /data", "refused", "mounts Volumes"),
    ("USER", "USER somebody", "ignored", "Remove it"),
    ('an ENTRYPOINT without exec "$@"', 'ENTRYPOINT ["/serve.sh"]\nCOPY src/serve.sh /', "no start", 'exec "$@"'),
    ('an ENTRYPOINT without exec "$@"', "ENTRYPOINT /start.sh\nCOPY src/start.sh /", "no start", "entrypoint([])"),
    ('an ENTRYPOINT without exec "$@"', 'ENTRYPOINT ["python", "-u", "server.py"]', "no start", 'exec "$@"'),
    ('an ENTRYPOINT without exec "$@"', 'ENTRYPOINT ["bash", "-c", "serve"]', "no start", 'exec "$@"'),
    ('an ENTRYPOINT without exec "$@"', 'ENTRYPOINT ["python"]', "no start", 'exec "$@"'),
    ("an image without python", "FROM debian:trixie-slim\nRUN apt-get update", "no start", "python:3.x"),
    ("an image without pip", "FROM ubuntu AS low\nRUN apt install python3\nFROM low", "no start", "Install it"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build context; `secret.txt` is kept from the build."""
    (tmp_path / "src" / "app").mkdir(parents=True)
    (tmp_path / "src" / "app" / "main.py").touch()
    (tmp_path / "src" / "start.sh").write_text(HANDS_ON)
    (tmp_path / "src" / "serve.sh").write_text('# exec "$@" would be needed\nserve\n')
    (tmp_path / "settings.txt").touch()
    (tmp_path / "secret.txt").touch()
    (tmp_path / ".dockerignore").write_text("secret.txt\n")
    return tmp_path


def checked(folder: Path, text: str) -> list[Problem]:
    """The problems of a Dockerfile whose third line is `text`."""
    file = folder / "Dockerfile"
    file.write_text(f"# a comment\nFROM python:3.12\n{text}\n")
    return check(file, folder)


@pytest.mark.parametrize("text", TAKEN)
def test_what_modal_builds_is_let_through(folder: Path, text: str):
    assert checked(folder, text) == []


@pytest.mark.parametrize(("construct", "text", "effect", "advice"), NOT_TAKEN)
def test_what_modal_does_not_take_is_found_at_its_line(
    folder: Path, construct: str, text: str, effect: str, advice: str
):
    (problem,) = checked(folder, text)

    assert (problem.line, problem.construct, problem.effect) == (3, construct, effect)
    assert advice in problem.advice


def test_all_that_is_wrong_is_found_in_the_order_of_the_lines(folder: Path):
    found = checked(folder, 'ENTRYPOINT ["serve"]\nUSER me\nCOPY --exclude=a $B ../c d /opt/')

    assert [(problem.line, problem.construct) for problem in found] == [
        (3, 'an ENTRYPOINT without exec "$@"'),
        (4, "USER"),
        *(
            (5, construct)
            for construct in ("COPY --exclude", "COPY $VARIABLE", "COPY ../", "COPY of what is not there")
        ),
    ]


def test_our_own_dockerfile_is_built():
    assert check(ROOT / "Dockerfile", ROOT) == []


def test_our_entrypoint_is_looked_into(tmp_path: Path):
    (tmp_path / "src").mkdir()
    script = tmp_path / "src" / "start.sh"
    script.write_text((ROOT / "src" / "start.sh").read_text().replace('exec "$@"', '"$@"'))
    steps = (ROOT / "Dockerfile").read_text().splitlines()
    (tmp_path / "Dockerfile").write_text("FROM python:3.12\nCOPY src/start.sh /\n" + steps[-1])

    (problem,) = check(tmp_path / "Dockerfile", tmp_path)

    assert "/start.sh does not exec" in problem.reason


def test_a_build_ends_at_the_first_refusal_and_not_at_what_is_left_out():
    commands = ["FROM debian", "USER me", 'ENTRYPOINT ["serve"]', "VOLUME /a", "EXPOSE 1"]

    refusal = first_refusal(commands, Uploaded(()))

    assert refusal is not None
    assert str(refusal).startswith("line 4: VOLUME /a\nModal's builder does not implement VOLUME.")


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("RUN true", 0, ""),
        ("VOLUME /data", 1, "Dockerfile:3: VOLUME (refused): Modal's builder does not implement VOLUME. Remove it"),
    ],
)
def test_the_program_says_file_line_construct_and_what_to_do(folder: Path, text: str, status: int, said: str):
    checked(folder, text)

    done = subprocess.run(
        [sys.executable, "-m", "emulators.modal_builder", folder / "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, said in done.stdout, done.stderr) == (status, True, "")


def test_joins_continued_lines_and_skips_comments_between_them():
    steps = list(dockerfile.instructions(["RUN one \\", "  # why", "  && two", "CMD x"]))

    assert [(step.line, step.word, step.text) for step in steps] == [(1, "RUN", "one && two"), (4, "CMD", "x")]


def test_skips_the_body_of_a_here_document():
    steps = list(dockerfile.instructions(["RUN <<EOF", "VOLUME /not/an/instruction", "EOF", "CMD x"]))

    assert [step.word for step in steps] == ["RUN", "CMD"]


def test_env_builds_on_what_came_before():
    commands = ["ENV HOME=/h", "ENV A=1 B='two words' C=$HOME/x", "ENV D=${A}", "ENV LEGACY some text"]

    values = dockerfile.environment(commands, {"PATH": "/bin"})

    assert values == {
        "PATH": "/bin",
        "HOME": "/h",
        "A": "1",
        "B": "two words",
        "C": "/h/x",
        "D": "1",
        "LEGACY": "some text",
    }
