"""The one error of the deployment: its message is for the person at the terminal."""


class Failed(Exception):
    """Something cannot be done; the message says what, and what to do."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
