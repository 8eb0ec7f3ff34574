"""This host's own addresses. Start at local.py."""
