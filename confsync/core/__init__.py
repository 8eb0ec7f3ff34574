"""Pure functions of values: no clock, file, socket, log or event loop.

May import: domain, errors, the standard library's pure parts, jinja2 (rendering and its neighbours
only). Start at desired.py, then rendering.py, planning.py, guards.py.
"""
