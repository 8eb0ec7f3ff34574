"""Measurements of confsync: `make bench` for speed. What they need comes from tests/support.

Nothing here is imported by the package or asserted by a test: times belong to a machine.
"""
