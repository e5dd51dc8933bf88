"""The named timeouts and retries of all steps, each with its reason."""

from datetime import timedelta

from temporalio.common import RetryPolicy

from relight.engine.step import Policy

WORKER_SILENCE = timedelta(seconds=15)
"""After so long without a heartbeat, the worker of an activity is dead, and another one goes on.

The worker sends one every five seconds, whatever the activity waits for: two may be lost. A host
that hangs ends a login after 10 s and a command after 35 s, as a fault."""

STORE = Policy(
    attempt=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30)),
)
"""Retried without limit: an operation waits until the store is back, and loses nothing. The retries
of an activity add no event to the history of its workflow."""

ADMISSION = Policy(
    attempt=timedelta(seconds=30),
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=15), maximum_interval=timedelta(minutes=1)
    ),
)
"""Looks whether a limit that holds a wave is gone, which can take weeks: the retries of an activity
add no event to the history of its workflow, and hold no place in a worker."""

WORKER_KEYS = Policy(
    attempt=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=15)),
)
"""Looks whether each worker has the keys of a rotation: a person copies the files."""

OPERATION = Policy(
    attempt=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10)),
)
"""Looks whether an operation has ended that another run of its wave has started."""

LOOKUP = Policy(
    attempt=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=6),
)
"""Spans a minute: a repository that is being published is consistent again by then."""

PREFLIGHT = Policy(
    attempt=timedelta(minutes=3),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=6),
)
"""As a lookup; but a dry run may have to refresh all apt sources of a host, and tries three."""

CREATE = Policy(
    attempt=timedelta(minutes=2),
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=2),
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=10,
    ),
)
"""Providers limit the rate of creations: retried for some minutes, then a provider fault."""

BOOT = Policy(
    attempt=timedelta(minutes=10),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=15), maximum_attempts=4),
)
"""A VM and its cloud-init take seconds to minutes."""

DESTROY = Policy(
    attempt=timedelta(minutes=10),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(minutes=1)),
)
"""Retried without limit: a machine that is left costs money and can block the name of a route."""

ASK = Policy(
    attempt=timedelta(minutes=5),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=6),
)
"""Asks a machine, and up to three others, whether they answer: a login and one command each."""

SWAP = Policy(
    attempt=timedelta(minutes=15),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=2),
        maximum_interval=timedelta(seconds=20),
        maximum_attempts=8,
    ),
)
"""Work on a host is detached, so a new attempt attaches to it. Eight attempts span two minutes."""

IMAGE_CHECK = Policy(
    attempt=timedelta(minutes=30),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(minutes=1), maximum_attempts=6),
)
"""Reads a disk of some gigabytes."""

# A deletion may be a task that is waited for, and each machine may have to be asked for its image.
IMAGE_PRUNE = Policy(attempt=timedelta(minutes=5), retry=LOOKUP.retry)
IMAGE_SEND = Policy(
    attempt=timedelta(hours=4),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=5),
        maximum_interval=timedelta(minutes=1),
        maximum_attempts=10,
    ),
)
"""Sends a disk of some gigabytes. What was sent or ordered is found again by the next attempt."""

IMAGE_IMPORT = Policy(
    attempt=timedelta(minutes=2),
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=30),
        backoff_coefficient=1.0,
        maximum_interval=timedelta(seconds=30),
    ),
)
"""Looks once in each attempt, for as long as the import may take: retries add no event."""

IMAGE_ASK = Policy(
    attempt=timedelta(minutes=2),
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=15),
        maximum_interval=timedelta(minutes=1),
        maximum_attempts=20,
    ),
)
"""Spans a quarter of an hour. What is left then is on record, and found by a prune."""

STOP_SWAP = Policy(
    attempt=timedelta(minutes=1),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=4),
)
"""The operation has ended already: it does not wait long for a host. The change has a deadline."""

PROVE = Policy(
    attempt=timedelta(minutes=5),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=5),
)
"""Only a lost connection is retried: a failed proof is a result, not an error."""

GATE_CHECK = Policy(
    attempt=timedelta(minutes=12),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(
        initial_interval=timedelta(seconds=2),
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=6,
    ),
)
"""A check may take ten minutes. One that gives no answer is reported and retried."""

OBSERVE = Policy(
    attempt=timedelta(minutes=3),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=5),
)
"""A listing may take a minute. What stays unavailable is observed by the next reconcile run."""

PROBE_MACHINES = Policy(
    attempt=timedelta(minutes=3),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=5), maximum_attempts=3),
)
"""A page in which each machine is silent takes half a minute. What fails is left to the next check,
a minute later."""

VERIFY_ATTEMPTS = 3

VERIFY = Policy(
    attempt=timedelta(minutes=10),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=VERIFY_ATTEMPTS),
)
"""If all hosts of a page hang, each takes three logins and commands, concurrently."""

VISIT = Policy(
    attempt=timedelta(minutes=15),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=6),
)
"""What is on record of a machine is not done again: a lost worker costs the time to notice it."""

PRUNE = Policy(
    attempt=timedelta(hours=1),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_interval=timedelta(minutes=5), maximum_attempts=5),
)
"""The first prune of an old store takes long. What is left is deleted by the next one."""

EVIDENCE = Policy(
    attempt=timedelta(minutes=1),
    retry=RetryPolicy(maximum_attempts=2),
)
"""Short: a replacement does not wait long for evidence about the old machine."""

DRAIN = Policy(
    attempt=timedelta(hours=1, minutes=1),
    heartbeat=WORKER_SILENCE,
    retry=RetryPolicy(maximum_attempts=8),
)
"""The setting limits a drain to one hour. Only the loss or the stop of a worker ends an attempt
early. The command then runs again: nothing is destroyed undrained while workers are replaced."""
