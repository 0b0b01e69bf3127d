"""The keys that say where a run is computed."""

from __future__ import annotations

from typing import Literal

from dask.utils import parse_bytes
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class ClusterConfig(BaseModel):
    """The ``cluster`` section of an experiment file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local", "existing"] = "local"
    workers: int | None = Field(None, gt=0, description="processes; default: one a core")
    memory: str | None = Field(None, description="of one worker, e.g. 4GiB; default: a fair share")
    address: str | None = Field(None, description="of an existing scheduler, e.g. tcp://host:8786")
    scheduler_file: str | None = Field(None, description="that an existing scheduler wrote")
    dashboard: str = Field("127.0.0.1:8787", description="address of the dashboard; :0 any port")
    timeout: float = Field(60.0, gt=0, description="seconds to wait for the workers")

    @field_validator("memory")
    @classmethod
    def _is_size(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_bytes(value)
            except ValueError:
                raise ValueError(f"{value!r} is not a size; write for example 4GiB") from None
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> ClusterConfig:
        given = [key for key in ("address", "scheduler_file") if getattr(self, key) is not None]
        if self.kind == "existing" and len(given) != 1:
            raise ValueError("kind existing needs either address or scheduler_file")
        if self.kind == "local" and given:
            raise ValueError(f"{given[0]} belongs to kind existing, but kind is local")
        sized = [key for key in ("workers", "memory") if getattr(self, key) is not None]
        if self.kind == "existing" and sized:
            raise ValueError(f"{sized[0]} belongs to kind local; an existing cluster has its own")
        return self
