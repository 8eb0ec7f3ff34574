"""The command line: thin commands over wiring; one place maps errors to exit codes.

May import: everything but __main__. Each command imports what it needs when it runs. Start at main.py.
"""
