"""estafeta serve: the server, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from estafeta.office.certificates import check_tls_files
from estafeta.office.commands.common import ConfigOption, find_config
from estafeta.office.config_read import read_config
from estafeta.office.logs import set_up_logs


def serve(
    config: ConfigOption = None,
    ready_fd: Annotated[
        int | None,
        typer.Option(help='File descriptor that gets "ready" once every port is open.'),
    ] = None,
) -> None:
    """Run the server until SIGTERM or SIGINT; SIGHUP reads the settings again."""
    file = find_config(config)
    loaded = read_config(file)
    set_up_logs(loaded.log.format, loaded.log.level)
    check_tls_files(loaded.tls)
    # Every room at once is dear to import; the other commands do without.
    if loaded.server.workers > 1:
        from estafeta.office.crew.serve import serve as serve_until_stopped
    else:
        from estafeta.office.serving import serve as serve_until_stopped
    serve_until_stopped(loaded, config_file=file, ready_fd=ready_fd)
