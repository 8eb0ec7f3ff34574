"""HAProxy's configuration language: words, sections, proxies, servers, as far as planning needs them.

words.py reads a line, text.py cuts a file into sections, proxies.py follows what each inherits,
servers.py folds server lines; vocabulary.py is the table of what may change at runtime and weighing.py
applies it to a proxy. May import: what core may. Start at text.py.
"""
