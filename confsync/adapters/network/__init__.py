"""Addresses of the host that confsync runs on. Start at local.py."""
