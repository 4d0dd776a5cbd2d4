"""Errors: what SQLite says, as what a caller of the store can act on."""

from __future__ import annotations

import errno

import apsw

from estafeta.store.engine import (
    StoreClosed,
    StoreConflict,
    StoreError,
    StoreFull,
    StoreReadOnly,
)


def translated(error: BaseException, system_errno: int = 0) -> StoreError:
    """The StoreError for `error` of apsw.

    system_errno: of the connection; SQLite reports a quota (EDQUOT) as an I/O error.
    """
    if isinstance(error, StoreError):
        return error
    text = str(error)
    if isinstance(error, apsw.FullError):
        return StoreFull(f"no space left for the store ({text})")
    if isinstance(error, apsw.ReadOnlyError):
        return StoreReadOnly(f"the store cannot be written: {text}")
    if isinstance(error, apsw.IOError | apsw.CantOpenError):
        # The WAL's index is made as large as it needs to be at once; SQLite keeps no errno of that.
        no_room = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
        if no_room or system_errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreFull(f"no space left for the store ({text})")
        if system_errno == errno.EROFS:
            return StoreReadOnly(f"the store lies on a read-only disk ({text})")
        return StoreError(f"the disk below the store fails: {text}")
    if isinstance(error, apsw.ConstraintError):
        return StoreConflict(text)
    if isinstance(error, apsw.BusyError):
        return StoreError(f"another process holds the store for too long ({text})")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreError(f"the store's file is damaged: {text}")
    if isinstance(error, apsw.ConnectionClosedError):
        return StoreClosed("the store is closed")
    return StoreError(f"{type(error).__name__}: {text}")
