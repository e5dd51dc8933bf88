"""A real OpenStack on this computer: Debian's packages in a machine of their own, with real VMs.

`python -m devkit.openstack up|status|down`.
"""
