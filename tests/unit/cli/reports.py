"""Reports to show: one with everything, and any."""

from hypothesis import strategies as st

from confsync.domain.loadbalancer import Problem
from confsync.domain.status import CycleReport, Hold, Outcome, Stage

DIFF = """\
--- /etc/haproxy/haproxy.cfg
+++ /etc/haproxy/haproxy.cfg
@@ -1,2 +1,2 @@
 backend web
-	server a 10.0.0.1:80
+	server b 10.0.0.2:80 # \x1b[2J
"""

WOULD_CHANGE = CycleReport(
    outcome=Outcome.WOULD_CHANGE,
    why="once",
    reasons=("backend web: server 10.0.0.2:80 added", "evil\n  - forged\x1b[2J"),
    problems=(
        Problem(what="port 0", service="we\nb", instance="web-1"),
        Problem(what="odd", service="'a\\nb'"),
        Problem(what="weight 300 is taken as 256", service="web", dropped=False),
        Problem(what="quote refuses it", service="web", template="h.j2", line=7),
    ),
    holds=(
        Hold(
            service="api server",
            reason="lost 3 of 4 instances",
            since=1_700_000_000,
            dropped=("10.0.0.1:80", "10.0.0.2:80"),
            until=1_700_000_060,
        ),
        Hold(service="", reason="the registry is empty", since=1_700_000_000),
    ),
    notes=("no socket /run/x", "a \u202e note"),
    services=1,
    servers=2,
    stages={Stage.PLAN: 1.5},
    diff=DIFF,
    exit_code=4,
    finished=1_700_000_000.5,
)

_TEXT = st.text(st.characters(codec=None), max_size=8)
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)
_MOMENT = st.floats(0, 1e18)

REPORTS = st.builds(
    CycleReport,
    outcome=st.sampled_from(Outcome),
    why=_TEXT,
    reasons=_TEXTS,
    steps=_TEXTS,
    reload=_TEXTS,
    problems=st.lists(
        st.builds(
            Problem,
            what=_TEXT,
            service=_TEXT,
            instance=_TEXT,
            dropped=st.booleans(),
            template=_TEXT,
            line=st.integers(0, 9),
        ),
        max_size=2,
    ).map(tuple),
    holds=st.lists(
        st.builds(
            Hold,
            service=_TEXT,
            reason=_TEXT,
            since=_MOMENT,
            dropped=st.lists(_TEXT, max_size=30).map(tuple),
            until=_MOMENT,
        ),
        max_size=2,
    ).map(tuple),
    notes=_TEXTS,
    services=st.integers(0, 9),
    servers=st.integers(0, 9),
    stages=st.dictionaries(st.sampled_from(Stage), st.floats(0, 1e6)),
    diff=_TEXT,
    revision=_TEXT,
    error=_TEXT,
    detail=_TEXT,
    exit_code=st.sampled_from([0, 3, 4, 65, 69, 73, 75, 77, 78]),
    failed_stage=st.none() | st.sampled_from(Stage),
    finished=_MOMENT,
)
