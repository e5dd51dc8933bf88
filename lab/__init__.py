"""A small cloud on this computer: real Debian machines behind an API like a VPS provider's.

A machine is systemd-nspawn over an overlay of one base image, in a network namespace of its own:
its systemd, sshd, cloud-init, apt and dpkg are the real ones. Beside it stands a signed apt
repository with releases of a small daemon, good ones and bad ones. It knows nothing of the
project that is tried out on it.
"""
