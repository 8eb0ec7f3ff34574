"""A running HAProxy: its sockets, its check, its reloads. Start at target.py."""
