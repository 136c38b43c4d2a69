"""Calling a command in the test's own process: what `processes.run_command` gives, without a start of Python."""

import contextlib
import io
import os
import subprocess
import sys

from typer.testing import CliRunner

from mv_pipeline.cli.app import app


def call_command(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call `mv-pipeline` and give its output and exit code; the environment is afterwards as it was.

    Args:
        arguments: the command and what follows it.
        variables: more of its environment.
    """
    environment, hook, words = dict(os.environ), sys.excepthook, list(map(str, arguments))
    try:
        done = CliRunner().invoke(app, words, prog_name="mv-pipeline", env=variables)
        told = io.StringIO()
        if done.exc_info and not isinstance(done.exception, SystemExit):
            with contextlib.redirect_stderr(told):
                sys.excepthook(*done.exc_info)
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.excepthook = hook
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr + told.getvalue())
