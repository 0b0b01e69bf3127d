"""Connect to a scheduler that was started independently."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client
from distributed.comm import get_address_host_port
from distributed.security import Security

from gfrnn.cluster.certificates import certificates_in
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError

_DASK_TLS = "distributed.comm.tls in Dask's configuration"


@contextmanager
def open_existing(config: ClusterConfig) -> Iterator[Client]:
    """Yield a client of a running scheduler, which keeps running when the block ends.

    Raises
    ------
    ClusterError
        If the address is invalid, or no scheduler answers or has workers within ``config.timeout``
        seconds; within the block, if it ends or cannot be reached any more for that long.
    """
    place = config.address or f"scheduler_file {config.scheduler_file}"
    try:
        address = config.address or wait_for_address(
            Path(str(config.scheduler_file)), config.timeout
        )
        security = _security(config)
        _check_address(address, security)
        client = Client(address, timeout=config.timeout, security=security)
    except ValueError as error:
        key = "address" if config.address else "scheduler_file"
        raise ClusterError(f"cluster.{key}: {address} cannot be used: {error}") from error
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"cluster: no scheduler answers at {place} within {config.timeout:g} s ({error}); "
            "check that it runs and that this machine can reach it"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=config.timeout)
        except TimeoutError:
            raise ClusterError(
                f"cluster: the scheduler at {place} has no worker after {config.timeout:g} s; "
                "start workers, or increase cluster.timeout"
            ) from None
        try:
            yield client
        except Exception as error:
            # Whatever was being done then, this is why it failed.
            if client.status != "running":
                raise ClusterError(
                    f"cluster: the scheduler at {place} does not answer any more; finished parts "
                    "are kept: start a scheduler and workers, and run the same command again "
                    f"({error})"
                ) from error
            raise


def _security(config: ClusterConfig) -> Security:
    """Return the configured certificates, by default those of Dask's configuration.

    Raises
    ------
    ClusterError
        If a certificate or key is missing, cannot be read, or is none.
    """
    try:
        if config.certificates is None:
            found = Security()
        else:
            found = certificates_in(Path(config.certificates))
        found.get_connection_args("client")  # reads the files
    except FileNotFoundError as error:
        if config.certificates is None:
            raise ClusterError(f"{_DASK_TLS}: a file of it does not exist; correct it") from None
        raise ClusterError(
            f"cluster.certificates: {error.filename} does not exist; the folder must hold "
            "certificate.pem and key.pem, and ca.pem if another certificate signs them"
        ) from None
    except OSError as error:  # those of TLS too
        if config.certificates is None:
            raise ClusterError(f"{_DASK_TLS}: {error}; correct its files or paths") from None
        raise ClusterError(
            f"cluster.certificates: the files in {config.certificates} cannot be used ({error}); "
            "certificate.pem, key.pem and, if it is there, ca.pem must be PEM files that you may "
            "read, and the key must be that of the certificate"
        ) from None
    return found


def _check_address(address: str, security: Security) -> None:
    """Check the address before a Client is made.

    A Client that fails in its constructor may block the next one for ten seconds.

    Raises
    ------
    ValueError
        If the address is invalid, or needs TLS and there are no certificates.
    """
    try:
        get_address_host_port(address)
    except ValueError as error:
        raise ValueError(
            f"{error}; give the address that the scheduler prints, such as tls://HOST:8786"
        ) from None
    connection = security.get_connection_args("client")
    if address.startswith(("tls://", "wss://")) and connection["ssl_context"] is None:
        raise ValueError(
            "TLS needs certificates: set cluster.certificates, or distributed.comm.tls in Dask's "
            "configuration"
        )


def wait_for_address(file: Path, timeout: float) -> str:
    """Wait for a scheduler's file and return the address in it.

    Dask's own wait for such a file has no timeout.

    Raises
    ------
    TimeoutError
        If the file does not exist or holds no address when `timeout` seconds are over.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["address"])
        except OSError:
            found = "no such file"
        except (ValueError, KeyError, TypeError):
            found = "the file holds no address"
        if time.monotonic() > end:
            raise TimeoutError(found)
        time.sleep(0.05)
