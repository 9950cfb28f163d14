# SPDX-License-Identifier: Apache-2.0
"""What is read from folders and databases of anyone: nothing in them may lead outside, wait for ever, or compute.

A campaign's folder holds files and folders. A link in it would make us write, read or remove what it leads to, and a
pipe would make us wait, so a folder with either is refused as a whole.

SQLite files can hold more than data: triggers and views that run when a table is used, columns with expressions, and a
journal whose end names a file that SQLite then removes. So the schema must be ours, word for word, and there must be no
journal: ours are kept with a write-ahead log.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from fuzz.case import MeshfuzzError

INSIDE = ("cases", "logs", "repros", "report")  # folders of a campaign that we write files into by name
LOG, INDEX, JOURNAL = "-wal", "-shm", "-journal"  # what SQLite keeps beside a file
MAX_VALUE = 64 << 20  # bytes of one value in a database


class ConfinedError(MeshfuzzError):
    """A folder or a database that is not as we make them; the message says what is wrong with it."""


def check_folder(directory: Path) -> None:
    """Raises ConfinedError if a campaign's folder holds anything but files and folders where we read or write."""
    for folder in (directory, *(directory / name for name in INSIDE)):
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfinedError(f"{folder} cannot be read: {error.strerror}") from error
        for entry in entries:
            check_entry(Path(entry.path))


def check_entry(path: Path) -> None:
    """Raises ConfinedError if there is something that is neither a file nor a folder."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no file"
        raise ConfinedError(f"{path} is {kind}: only files and folders belong there; remove it")


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open a database that must have this schema and nothing else. Raises ConfinedError, sqlite3.DatabaseError."""
    for suffix in ("", LOG, INDEX, JOURNAL):
        check_entry(path.with_name(path.name + suffix))
    if path.with_name(path.name + JOURNAL).exists():
        raise ConfinedError(f"{path}{JOURNAL} is not ours: what SQLite does with it may reach other files; remove it")
    database = sqlite3.connect(path, check_same_thread=False, timeout=30)
    try:
        restrict(database)
        if (found := _objects(database)) != (wanted := _wanted(schema)):
            odd = sorted(name for _, name, _ in found ^ wanted)[0]
            raise ConfinedError(
                f"{path} is not of this version (its schema differs in {ascii(odd)[:80]}): choose another one"
            )
    except UnicodeDecodeError as error:  # of a message of SQLite, which quotes a name
        database.close()
        raise ConfinedError(f"{path} is not of this version (a name in it is no text): choose another one") from error
    except BaseException:
        database.close()
        raise
    return database


def restrict(database: sqlite3.Connection) -> None:
    """Let SQLite do no more than store and find: whatever a file says."""
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    database.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    database.execute("PRAGMA mmap_size = 0")


def _wanted(schema: str) -> set[tuple[str, str, str]]:
    model = sqlite3.connect(":memory:")
    try:
        model.executescript(schema)
        return _objects(model)
    finally:
        model.close()


def _objects(database: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Kind, name and text of everything in a database, whatever its spaces."""
    rows = database.execute("SELECT type, name, sql FROM sqlite_schema")
    return {(str(kind), str(name), " ".join(str(text or "").split())) for kind, name, text in rows}
