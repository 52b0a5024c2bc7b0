import pytest

from emulators.modal import dockerfile

UPLOADED = {"src/start.sh", "src/app/main.py", "settings.txt"}


@pytest.mark.parametrize(
    "line",
    [
        "COPY settings.txt /opt/",
        "COPY --chmod=755 src/start.sh /start.sh",
        "COPY src /opt/src",
        "COPY ./src/app/ /opt/app",
        "COPY src/*.sh /opt/",
        "COPY . /opt/",
        "COPY --from=build /made/elsewhere /opt/",
        "ADD https://example.com/file /opt/file",
        "RUN --mount=type=cache,target=/root/.cache pip install x",
        "ENV PLACE=${HOME}/here",
    ],
)
def test_builds_what_modal_builds(line):
    assert dockerfile.first_problem(["FROM base", line], UPLOADED) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("COPY missing.txt /opt/", "missing.txt: not found"),
        ("COPY settings.txt other/ /opt/", "other/: not found"),
        ("ADD settings.txt /opt/", "Use COPY"),
        ("RUN --mount=type=bind,target=/src make", "finds no context"),
        ("COPY <<EOF /opt/note\nhello\nEOF", "here-document"),
        ("ENV PLACE=${PLACE:-here}", "default values"),
        ("VOLUME /data", "VOLUME"),
        ("STOPSIGNAL SIGINT", "STOPSIGNAL"),
        ("ONBUILD RUN true", "ONBUILD"),
    ],
)
def test_refuses_what_modal_would_not_build(line, reason):
    problem = dockerfile.first_problem(["FROM base", "", line], UPLOADED)

    assert problem is not None
    assert problem.line == 3
    assert reason in problem.reason


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
