"""Errors of alwann-c. Everything a user can cause is an `InputError`; its text is one line."""


class AlwannError(Exception):
    """Base of every error raised on purpose by this package."""


class InputError(AlwannError):
    """Bad input. The message is one line naming the file, the field and what would be right.

    The command line prints it as `error: <message>` and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UnsupportedError(InputError):
    """A model uses something that cannot be taken; names operator, node and opset."""
