"""The file system: destinations, the state directory, templates, and services from a file.

Start at store.py.
"""
