"""Coordinate systems."""

SRID = 4326
