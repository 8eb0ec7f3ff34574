"""HAProxy's configuration language: sections, lines and words, as far as planning needs them.

May import: what core may. Start at text.py.
"""
