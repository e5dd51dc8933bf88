"""A small cloud on this computer: real Debian machines behind an API like a cloud provider's.

A machine is a systemd-nspawn container on an overlay of one base image, in its own network
namespace. Its systemd, sshd, cloud-init, apt and dpkg are real. A signed apt repository offers good
and bad releases of a small service. The lab imports nothing of the project that is tested on it.
"""
