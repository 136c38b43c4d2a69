"""Text from outside as logs, runs and messages show it. What raw and stg hold is never changed here."""


def readable(text: str) -> str:
    """The text on one line, with � for every character that can't be shown.

    Control characters, bidi marks and bytes that are no text could mislead whoever reads a log, and PostgreSQL refuses
    some of them.
    """
    return "".join(char if char.isprintable() or char == "\u3000" else "\ufffd" for char in text)
