# The check of every general tool after its swap; "$1" is the version. It waits up to one second
# until the process runs the unit's executable: right after the start it is still systemd.
set -eu
state=$(dpkg-query -W -f '${db:Status-Abbrev}${Version}' lantern-box)
[ "$state" = "ii $1" ] || { echo "dpkg says $state" >&2; exit 1; }
systemctl is-active --quiet lantern-box.service
for _ in 1 2 3 4 5 6 7 8 9 10; do
    pid=$(systemctl show --property=MainPID --value lantern-box.service)
    if [ "/proc/$pid/exe" -ef /usr/bin/lantern-box ]; then exit 0; fi
    sleep 0.1
done
echo "the running process is not the installed file" >&2
exit 1
