"""The services of Debian that are tried, with their process models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A service of Debian.

    Attributes:
        package: its name.
        model: how its processes run.
        expected: why it cannot be proven on a machine of the lab; empty if it has to be.
    """

    package: str
    model: str
    expected: str = ""


CATALOG = (
    Entry("cron", "C, simple"),
    Entry("vnstat", "C, simple"),
    Entry("openssh-server", "C, notify; its sessions outlive it"),
    Entry("redis-server", "C, notify; locked to a second package"),
    Entry("mosquitto", "C, notify"),
    Entry("lldpd", "C, notify, two processes"),
    Entry(
        "unbound",
        "C, notify",
        expected="it needs `dns-root-data`, which it only recommends, and a release installs no "
        "more than it needs. Name it in `packages`",
    ),
    Entry("rsyslog", "C, notify; a socket of systemd's starts it"),
    Entry("nsd", "C, notify, several processes"),
    Entry("snmpd", "C, simple"),
    Entry("haproxy", "C, notify; executes itself again on a reload"),
    Entry("lighttpd", "C, simple; executes itself again on a reload"),
    Entry("nginx", "C, forking with a PID file; its unit is in a second package"),
    Entry("apache2", "C, forking, workers; its program is in a second package"),
    Entry(
        "dnsmasq",
        "C, forking with a PID file, by a shell script; its program is in a second package",
    ),
    Entry("tinyproxy", "C, forking with a PID file"),
    Entry("ngircd", "C, forking without a PID file"),
    Entry("varnish", "C, two processes of two users"),
    Entry("squid", "C, notify, several processes"),
    Entry("dovecot-core", "C, notify, several programs"),
    Entry("bind9", "C, forking; a unit that is a helper"),
    Entry("prometheus-node-exporter", "Go"),
    Entry("etcd-server", "Go, notify"),
    Entry("prometheus-pushgateway", "Go"),
    Entry("supervisor", "Python"),
    Entry(
        "networkd-dispatcher",
        "Python, notify",
        expected="its unit starts only once there is a script for it, and the package has none",
    ),
    Entry("graphite-carbon", "Python, forking"),
    Entry("radicale", "Python"),
    Entry("munin-node", "Perl, forking"),
    Entry("spamd", "Perl, with children"),
    Entry("memcached", "Perl that executes a C program"),
    Entry("puppet-agent", "Ruby"),
    Entry("camo", "Node"),
    Entry("php8.2-fpm", "PHP, notify, workers"),
    Entry("prosody", "Lua"),
    Entry("tomcat10", "Java, by a shell script that executes it"),
    Entry("ejabberd", "Erlang, by a shell script that waits"),
    Entry(
        "ntpsec",
        "C, forking, by a shell script that executes it",
        expected="a machine of the lab may not set its clock, and so its unit does not start",
    ),
    Entry("slapd", "C, System V script"),
    Entry("tftpd-hpa", "C, System V script"),
    Entry("xinetd", "C, System V script"),
    Entry("netfilter-persistent", "shell, oneshot that remains"),
    Entry("sysstat", "oneshot that remains; timers beside it"),
    Entry("rpcbind", "C, notify, with a socket"),
    Entry("fcgiwrap", "C, started by a socket"),
    Entry("uuid-runtime", "C, started by a socket"),
    Entry("tang", "shell, started by a socket for each connection"),
    Entry("cups-daemon", "C, notify, with a socket and a path"),
    Entry("knot-resolver", "instances of a template; more units"),
    Entry("tor", "instances of a template below a unit that runs nothing"),
    Entry("postfix", "instances of a template below a unit that runs nothing; several programs"),
)
