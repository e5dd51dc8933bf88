# shellcheck shell=sh
# What stands for deb_files.sh in the first boot of a host that gets its packages by apt only.

check_deb() { fail 64 'relight-host: this host gets its packages by apt'; }

receive() { check_deb; }
