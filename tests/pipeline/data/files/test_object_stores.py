"""Test reading from an object store: a local server that speaks S3, and what it refuses."""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened, same
from gfrnn_testing.reference_sets import write_references

s3fs = pytest.importorskip("s3fs", reason="S3 needs the extra s3")
moto_server = pytest.importorskip("moto.server", reason="moto, a server of S3 for tests, is absent")

EXPECTED = make(6).rename(z="geopotential", t2m="2m_temperature")
KEYS = {"AWS_ACCESS_KEY_ID": "key-of-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-tests"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Start a server of S3 on a free port of the loopback interface."""
    server = moto_server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the environment of a user of the server, and return its file system with one bucket."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    others = {
        "AWS_ENDPOINT_URL": address,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in (KEYS | others).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    urlopen(Request(f"{address}/moto-api/reset", method="POST")).close()
    files = s3fs.S3FileSystem()
    files.mkdir("archive", acl="public-read")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()


def put(files: Any, path: Path) -> None:
    """Copy a file or folder into the bucket, for everybody to read."""
    files.put(str(path), f"archive/{path.name}", recursive=True, ACL="public-read")


def test_zarr_stores_and_netcdf_files(store: Any, tmp_path: Path) -> None:
    for number in (2, 3):
        make(6).to_zarr(tmp_path / f"{number}.zarr", zarr_format=number, consolidated=number == 2)
        put(store, tmp_path / f"{number}.zarr")
    make(6)[["z"]].to_netcdf(tmp_path / "z.nc", format="NETCDF3_CLASSIC")
    make(6)[["t2m"]].to_netcdf(tmp_path / "t2m.nc", format="NETCDF4")
    for name in ("z.nc", "t2m.nc"):
        put(store, tmp_path / name)
    for sources in (["s3://archive/2.zarr"], ["s3://archive/3.*rr"], ["s3://archive/*.nc"]):
        found = opened(*sources)
        same(found, EXPECTED)
        assert fingerprint(found) == fingerprint(opened(tmp_path / "3.zarr"))


def test_references_and_repositories(store: Any, tmp_path: Path, address: str) -> None:
    write_references(make(6), tmp_path / "a.json")
    put(store, tmp_path / "a.store")
    text = (tmp_path / "a.json").read_text().replace(f"{tmp_path}/", "s3://archive/")
    (tmp_path / "a.json").write_text(text)
    put(store, tmp_path / "a.json")
    same(opened(tmp_path / "a.json"), EXPECTED)
    same(opened("s3://archive/a.json"), EXPECTED)
    store.rm("archive/a.store/z/2.0.0.0")
    with pytest.raises(DataError, match=r"a\.json: 1 of the 12 files .* gone: s3://archive/a\.sto"):
        opened(tmp_path / "a.json")

    icechunk = pytest.importorskip("icechunk", reason="Icechunk needs the extra icechunk")
    place = icechunk.s3_storage(
        bucket="archive",
        prefix="repository",
        region="us-east-1",
        endpoint_url=address,
        allow_http=True,
        force_path_style=True,
        from_env=True,
    )
    session = icechunk.Repository.create(place).writable_session("main")
    make(6).to_zarr(session.store, consolidated=False)
    session.commit("all")
    options = {"endpoint_url": address, "client_kwargs": {"region_name": "us-east-1"}}
    same(opened({"path": "s3://archive/repository", "storage_options": options}), EXPECTED)
    keys = {"key": KEYS["AWS_ACCESS_KEY_ID"], "secret": KEYS["AWS_SECRET_ACCESS_KEY"]}
    same(opened({"path": "s3://archive/repository", "storage_options": options | keys}), EXPECTED)


def test_listing_takes_one_request_a_file(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gfrnn.pipeline.config.data_config import SourceConfig
    from gfrnn.pipeline.data.files.find_files import find_files

    make(1).to_netcdf(tmp_path / "a.nc")
    content = (tmp_path / "a.nc").read_bytes()
    for number in range(30):
        store.pipe(f"archive/{number:02d}.nc", content)
    s3fs.S3FileSystem.clear_instance_cache()
    calls = []
    plain = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *given: Any, **options: Any) -> Any:
        calls.append(method)
        return await plain(self, method, *given, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    found = find_files(SourceConfig(path="s3://archive/*.nc"))
    assert [file.path for file in found] == [f"s3://archive/{n:02d}.nc" for n in range(30)]
    assert calls.count("get_object") == 30
    assert len(calls) < 36


@pytest.mark.parametrize("name", ["a.zarr", "*.nc", "a.nc"])
def test_buckets_and_files_that_are_not_there(store: Any, name: str) -> None:
    for bucket in ("archive", "archiv"):
        url = f"s3://{bucket}/{name}"
        with pytest.raises(
            DataError, match=rf"data\.sources\[0\]: {re.escape(url)} cannot be reached .*; check"
        ):
            opened(url)


@pytest.fixture
def guarded(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server, a thread of this process, refuse requests with keys that it did not give."""
    make(6).to_zarr(tmp_path / "a.zarr", consolidated=False)
    put(store, tmp_path / "a.zarr")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)


@pytest.mark.parametrize("path", ["a.zarr", "*.zarr"])
@pytest.mark.parametrize("keys", ["unknown", "in the options", "none"])
@pytest.mark.usefixtures("guarded")
def test_wrong_credentials_are_not_shown(
    path: str, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"key": "ada", "secret": "lovelace-of-tests"} if keys == "in the options" else {}
    for name in KEYS if keys == "none" else []:
        monkeypatch.delenv(name)
    with pytest.raises(DataError, match="check the credentials, in the environment") as caught:
        opened({"path": f"s3://archive/{path}", "storage_options": given})
    assert f"s3://archive/{path} cannot be reached" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in (*KEYS.values(), *given.values()))


@pytest.mark.parametrize("options", [{"anon": True}, {"client_kwargs": {"verify": False}}])
def test_options_of_the_file_system(store: Any, tmp_path: Path, options: dict[str, Any]) -> None:
    make(6).to_zarr(tmp_path / "a.zarr", consolidated=False)
    put(store, tmp_path / "a.zarr")
    found = opened({"path": "s3://archive/a.zarr", "storage_options": options})
    same(pickle.loads(pickle.dumps(found)), EXPECTED)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "gs", raising=False)
    with pytest.raises(DataError, match=r"a\.zarr needs another package .* pip install gcsfs"):
        opened("gs://b/a.zarr")
