"""Case of the first paper: temperature of a weather station."""

from gfrnn.workflows.cases.station.station_case import CASE

__all__ = ["CASE"]
