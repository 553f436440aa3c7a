"""Damage for files, and what is asked of those who read them."""

from hypothesis import strategies as st

import alignsolve as al


def error_of(call, *arguments):
    """Return the message of the `ProblemError` that a call raises, or None."""
    try:
        call(*arguments)
    except al.ProblemError as error:
        return str(error)
    return None


def assert_read_or_refused(start, call, *arguments):
    """Assert that a call works, or names the file on one short line; all else fails."""
    message = error_of(call, *arguments)
    if message is not None:
        assert message.startswith(str(start)), message
        assert "\n" not in message, message
        assert len(message) < 500 + len(str(start)), message


@st.composite
def damaged(draw, content, values=range(256)):
    """Draw file content with its end cut off, some bytes changed, or both."""
    content = bytearray(content)
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content) - 1)) :]
    for _ in range(draw(st.integers(0, 3))):
        if content:
            content[draw(st.integers(0, len(content) - 1))] = draw(st.sampled_from(list(values)))
    return bytes(content)
