"""The variables that settings are read from: where each was found, and whether it is one at all."""

import difflib
import os
from pathlib import Path

from mv_pipeline.settings import ENV_FILE, PREFIX, Settings, SettingsError, read_env_file

# Of the proxy and of the tests.
_OTHERS = ("PROXY_", "TESTS_")
_PATHS = ("HOME", "INBOX", "SQL_DIR")
KNOWN = [name.upper() for name in Settings.model_fields]


def read_origins() -> dict[str, str]:
    """Where each variable that is named like a setting comes from, by its name without the prefix.

    Raises:
        SettingsError: a name is nearly that of a setting, or `.env` can't be read or holds a path that isn't absolute.
    """
    try:
        file = {name.upper(): value for name, value in read_env_file().items()}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{ENV_FILE} can't be read: {error}") from None
    found = {name: str(ENV_FILE) for name in file}
    found |= {name.upper(): "the environment" for name, value in os.environ.items() if value}
    origins = {name.removeprefix(PREFIX): origin for name, origin in found.items() if name.startswith(PREFIX)}
    for name, origin in origins.items():
        if name not in KNOWN and (near := difflib.get_close_matches(name, KNOWN, 1, 0.8)):
            raise SettingsError(f"{PREFIX}{name} in {origin} is no setting. Write {PREFIX}{near[0]}, or remove it.")
    for name in _PATHS:
        if not Path(file.get(f"{PREFIX}{name}", "/")).expanduser().is_absolute():
            raise SettingsError(f"{PREFIX}{name} in {ENV_FILE} has to be an absolute path.")
    return {name: origin for name, origin in origins.items() if not name.startswith(_OTHERS)}
