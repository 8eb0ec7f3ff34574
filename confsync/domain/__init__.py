"""Frozen values that the stages hand to one another.

May import: the standard library's dataclasses, enum, typing, and one another. Start at catalog.py.
"""
