"""The error that whoever runs the pipeline can mend; the rooms derive theirs from it."""


class OperatorError(Exception):
    """Something that the operator can mend; the message is one line that says what, where and what to do.

    Args:
        message: the line.
        problems: where several things have to be mended, a sentence about each; they belong below the message.
    """

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join([message, *problems]))
        self.problems = problems
