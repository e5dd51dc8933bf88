"""The named timeouts and retries of every step, each with its reason. They stand nowhere else."""

from datetime import timedelta

from temporalio.common import RetryPolicy

from relight.engine.step import Policy

HOST_SILENCE = timedelta(seconds=60)
"""A host that hangs is given up by name after a login (10 s) and one question (35 s). Whoever
waits for it is not to be given up before."""

BOOKKEEPING = Policy(
    attempt=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30)),
)
"""The store is ours: an operation waits for it to come back, however long, and loses nothing."""

LOOKUP = Policy(
    attempt=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=6),
)
"""A repository in the middle of being published is whole again within a minute."""

CREATE = Policy(
    attempt=timedelta(minutes=2),
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=2),
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=10,
    ),
)
"""Providers limit how often one may create: patience over some minutes, then it is their fault."""

BOOT = Policy(
    attempt=timedelta(minutes=10),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=15), maximum_attempts=4),
)
"""A VM and its cloud-init take seconds to minutes; a lost worker is noticed in half a minute."""

DESTROY = Policy(
    attempt=timedelta(minutes=10),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(minutes=1)),
)
"""Without an end: a machine that nobody destroys is paid for and can hold a route's name."""

CHANGE = Policy(
    attempt=timedelta(minutes=15),
    heartbeat=HOST_SILENCE,
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=2),
        maximum_interval=timedelta(seconds=20),
        maximum_attempts=8,
    ),
)
"""Work on a host is detached there, so a new attempt attaches to it; eight span two minutes."""

PROVE = Policy(
    attempt=timedelta(minutes=5),
    heartbeat=HOST_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=5),
)
"""Only a lost link is looked at again: what a proof saw wrong is an answer, not an error."""

CHECK = Policy(
    attempt=timedelta(minutes=12),
    heartbeat=timedelta(seconds=20),
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=2),
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=6,
    ),
)
"""A check may take ten minutes. One that gives no answer for one is told of, and asked anew."""

OBSERVE = Policy(
    attempt=timedelta(minutes=3),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=5),
)
"""A listing may take its minute. What cannot be seen now, the next pass sees."""

AUDIT = Policy(
    attempt=timedelta(minutes=10),
    heartbeat=HOST_SILENCE * 2,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=3),
)
"""A page of hosts that all hang is three logins and questions of each, side by side."""

EVIDENCE = Policy(
    attempt=timedelta(minutes=1),
    retry=RetryPolicy(maximum_attempts=2),
)
"""Whoever waits for another machine does not wait long for the words of the old one."""

DRAIN = Policy(
    attempt=timedelta(hours=1, minutes=1),
    heartbeat=timedelta(seconds=20),
    retry=RetryPolicy(maximum_attempts=2),
)
"""The deadline is the setting's, an hour at most. A lost worker is noticed, and the program asked
once more."""
