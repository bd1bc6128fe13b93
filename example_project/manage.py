"""The example project: ``runserver`` for the board of airports, ``demo`` for the proof under load.

Both bring their Valkey along, unless ``CACHEASIDE_REDIS_URL`` names a server.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from django.core.management import execute_from_command_line

ADDRESS = Path(__file__).with_name("airports.sqlite3-valkey")
"""Where ``runserver`` leaves its Valkey's address: whoever writes the database must reach the cache of its readers."""


def bring_along(command: str, lifetime: ExitStack) -> None:
    """Start what ``command`` needs, before the settings are read: processes that it starts inherit the addresses."""
    url = os.environ.get("CACHEASIDE_REDIS_URL") or (running_valkey() if command != "demo" else None)
    directory = None
    if url is None and command in ("demo", "runserver"):
        from embedded import EmbeddedValkey  # the other commands run without it

        valkey = lifetime.enter_context(EmbeddedValkey())
        url, directory = valkey.url, valkey.directory  # which goes with us, after a SIGKILL too
        if command == "runserver":
            ADDRESS.write_text(url)
            lifetime.callback(ADDRESS.unlink, missing_ok=True)
    if command == "demo":
        of_demo = lifetime.enter_context(tempfile.TemporaryDirectory(prefix="cacheaside-demo-", dir=directory))
        os.environ["CACHEASIDE_DATABASE"] = str(Path(of_demo, "demo.sqlite3"))
    if url:
        os.environ["CACHEASIDE_REDIS_URL"] = url


def running_valkey() -> str | None:
    """The address of the Valkey of a ``runserver`` that runs: its socket goes when it ends."""
    url = ADDRESS.read_text() if ADDRESS.exists() else ""
    return url if url and Path(urlsplit(url).path).exists() else None


def main() -> None:
    """Run one command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        with ExitStack() as lifetime:
            if not {"-h", "--help"} & set(sys.argv):
                bring_along("".join(sys.argv[1:2]), lifetime)
            execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell reports Ctrl-C


if __name__ == "__main__":
    main()
