"""Settings: what may be set, and how file, environment and flags become one value.

May import: domain, errors, pydantic. sources.py knows no pydantic, for commands that only need the
state directory. Start at model.py.
"""
