"""nginx's main configuration, and what it says of its files. Texts only."""

import re

_WORDS = re.compile(r"^nginx: \[(?:emerg|alert|crit|error)\] (?P<what>.+)$", re.MULTILINE)
_LOGGED = re.compile(r"^\S+ \S+ \[(?:emerg|alert|crit)\] \d+#\d+: (?P<what>.+)$", re.MULTILINE)


def main(*, directory: str, sites: str, user: str) -> str:
    """Write it: everything that nginx itself needs is in `directory`, `sites` has the rest.

    `user`: whom the workers become; "" where the master is not root and cannot choose.
    """
    as_user = f"user {user};\n" if user else ""
    return f"""\
# Written by confsync. Sites are in {sites}: *.conf, each inside http {{ }}.
{as_user}daemon off;
worker_processes auto;
pid {directory}/nginx.pid;
error_log stderr warn;
# An old worker that still serves a slow client after a reload is ended after this.
worker_shutdown_timeout 10m;
include /etc/nginx/modules-enabled/*.conf;

events {{
    worker_connections 4096;
}}

http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    # HAProxy logs each request already; a site may turn this on for itself (/dev/stdout).
    access_log off;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    # An old worker closes its idle connections when a reload begins. A request that HAProxy has just
    # sent on one of them would be lost, and a connection on loopback costs next to nothing.
    keepalive_timeout 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {sites}/*.conf;
}}
"""


def said(output: str) -> str:
    """Take nginx's own words from what a check wrote: the fault, with file and line."""
    found = [m["what"] for m in _WORDS.finditer(output)]
    found += [m["what"] for m in _LOGGED.finditer(output)]
    return "\n".join(dict.fromkeys(found)) or output.strip()
