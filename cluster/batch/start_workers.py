"""Program of a batch job: start Dask workers whose temporary files are in a private folder.

    python -m gfrnn.cluster.batch.start_workers SCHEDULER --local-directory FOLDER ...

Its arguments are those of ``dask worker``. Others may have made Dask's own scratch folder inside
FOLDER, from which workers would import modules.
"""

from __future__ import annotations

import sys

from distributed.cli.dask_worker import main as dask_worker

from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.private_folder import make_private_folder


def main(arguments: list[str]) -> None:
    """Make the private folder, and start the workers.

    Raises
    ------
    SystemExit
        If others control the folder; the message is in the log of the job.
    """
    context = dask_worker.make_context("start_workers", arguments)
    try:
        folder = make_private_folder(context.params["local_directory"], "cluster.spill")
    except ClusterError as error:
        sys.exit(str(error))
    context.params["local_directory"] = folder
    with context:
        dask_worker.invoke(context)


if __name__ == "__main__":
    main(sys.argv[1:])
