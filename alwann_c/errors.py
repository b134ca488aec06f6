"""Errors of alwann-c. Everything a user can cause is an `InputError`; its text is one line."""

MAX_MESSAGE = 4000
"""Characters of a message; what files say is quoted in messages, and files may say anything."""


class AlwannError(Exception):
    """Base of every error raised on purpose by this package."""


class InputError(AlwannError):
    """Bad input. The message is one line naming the file, the field and what would be right.

    Characters that cannot be printed are escaped, long messages are shortened in the middle. The
    command line prints it as `error: <message>` and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_shortened(_printable(" ".join(message.split()))))


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _shortened(text: str) -> str:
    if len(text) <= MAX_MESSAGE:
        return text
    return f"{text[: MAX_MESSAGE - 1000]} […] {text[-900:]}"


class UnsupportedError(InputError):
    """A model uses something that cannot be taken; names operator, node and opset."""
