"""The error that whoever runs the pipeline can mend; the rooms derive theirs from it."""


class OperatorError(Exception):
    """Something that the operator can mend; the message is one line that says what, where and what to do."""
