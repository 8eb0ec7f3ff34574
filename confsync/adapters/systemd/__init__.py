"""systemd: HAProxy's unit as a target, and the notifications of our own unit.

Start at unit.py.
"""
