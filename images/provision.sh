#!/bin/sh
# Makes a Debian root as the contract says that stands below: in a chroot, or on a machine that becomes
# an image. It runs as root, and may run again. The first error ends it.
set -eu
umask 022
cd /
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
unset LANGUAGE TMPDIR

# The builder may lay the .deb files of downloads here, each as SHA256.deb; others are fetched.
DOWNLOADS=/var/cache/relight-image
POLICY=/usr/sbin/policy-rc.d

say() { echo "provision: $*" >&2; }

# No package starts its service: what runs writes files that no image has.
if [ ! -e "$POLICY" ]; then
  trap 'rm -f "$POLICY"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 0755 "$POLICY"
fi

# A mirror that does not answer must not hold a build.
apt() {
  apt-get --quiet --quiet --yes -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o DPkg::Use-Pty=0 "$@" </dev/null
}

state() { dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null || true; }

# install PACKAGE...
install() {
  missing=
  for package; do
    [ "$(state "$package")" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  say "installing$missing"
  apt update --error-on=any
  # shellcheck disable=SC2086 # names of packages have no blanks
  apt install --no-install-recommends $missing
}

# fetch SHA256 URL FILE
fetch() {
  if [ ! -e "$3" ]; then
    say "fetching $2"
    mkdir -p "${3%/*}"
    curl --fail --location --silent --show-error --proto =http,https --connect-timeout 30 \
      --max-time 900 --retry 3 --output "$3.part" "$2"
    mv "$3.part" "$3"
  fi
  echo "$1  $3" | sha256sum --check --quiet >&2 || {
    rm -f "$3"
    say "$2 is not what the contract says"
    return 1
  }
}

# download PACKAGE ARCHITECTURE SHA256 URL
download() {
  [ "$2" = "$(dpkg --print-architecture)" ] || return 0
  [ "$(state "$1")" != installed ] || return 0
  fetch "$3" "$4" "$DOWNLOADS/$3.deb"
  apt install --no-install-recommends "$DOWNLOADS/$3.deb"
}

# directory PATH MODE OWNER
directory() {
  mkdir -p "$1"
  chown "$3" "$1"
  chmod "$2" "$1"
}

# file PATH MODE OWNER CONTENT
file() {
  mkdir -p "${1%/*}"
  rm -f "$1.relight-new"
  (umask 077 && printf '%s' "$4" >"$1.relight-new")
  chown "$3" "$1.relight-new"
  chmod "$2" "$1.relight-new"
  mv -T "$1.relight-new" "$1"
}

# access PATH MODE OWNER: of a file that a package brings
access() {
  chown "$3" "$1"
  chmod "$2" "$1"
}

# user NAME SHELL GROUP...
user() {
  name=$1
  if getent passwd "$name" >/dev/null; then
    usermod --shell "$2" "$name"
  else
    useradd --create-home --shell "$2" "$name"
  fi
  shift 2
  for group; do
    usermod --append --groups "$group" "$name"
  done
}

# disable UNIT: at boot, wherever it is wanted
disable() {
  rm -f /etc/systemd/system/*.wants/"$1" /etc/systemd/system/*.requires/"$1"
}

# mask UNIT
mask() {
  disable "$1"
  ln -sfT /dev/null "/etc/systemd/system/$1"
}

# trust: the system's store then has the certificates of /usr/local
trust() { update-ca-certificates >/dev/null; }

# checked COMMAND...
checked() {
  say "checking: $*"
  "$@" </dev/null >&2
}

# purge PACKAGE...
purge() {
  present=
  for package; do
    case $(state "$package") in
      '' | not-installed) ;;
      *) present="$present $package" ;;
    esac
  done
  [ -n "$present" ] || return 0
  say "purging$present"
  # shellcheck disable=SC2086 # names of packages have no blanks
  apt purge $present
}

# remove PATTERN
remove() {
  IFS=
  # shellcheck disable=SC2086 # the pattern is expanded here, and nothing is split
  rm -rf -- $1
  unset IFS
}

# no_passwords: not even a locked one is left
no_passwords() {
  awk -F: '$2 !~ /^[!*]+$/ { print $1 }' /etc/shadow | while read -r name; do
    usermod --password '!' "$name"
  done
}

# The contract:

install ca-certificates cloud-init curl dbus iproute2 netbase nftables openssh-server sudo systemd systemd-sysv tzdata udev wireguard-tools
user lantern /bin/bash sudo
directory /etc/lantern-box 0755 root:root
directory /var/lib/lantern-box 0755 root:root
directory /etc/otelcol-contrib 0755 root:root
file /etc/ssh/sshd_config.d/10-relight.conf 0644 root:root 'PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
'
file /etc/apt/apt.conf.d/80relight 0644 root:root 'APT::Periodic::Enable "0";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
'
file /etc/cloud/cloud.cfg.d/95_relight.cfg 0644 root:root 'locale: false
'
file /etc/sudoers.d/90-lantern 0440 root:root 'lantern ALL=(ALL) NOPASSWD: ALL
'
file /etc/otelcol-contrib/otelcol-contrib.env 0600 root:root ''
file /etc/lantern-box/otel.env 0600 root:root ''
file /etc/otelcol-contrib/config.yaml 0644 root:root 'receivers:
  hostmetrics:
    scrapers: {cpu: {}, disk: {}, filesystem: {}, load: {}, memory: {}, network: {}}
  journald:
    units: [cloud-init.service, cloud-final.service]
processors:
  batch: {}
exporters:
  otlp:
    endpoint: ${env:OTEL_EXPORTER_OTLP_ENDPOINT}
    headers: {authorization: "${env:OTEL_EXPORTER_OTLP_AUTHORIZATION}"}
service:
  pipelines:
    metrics: {receivers: [hostmetrics], processors: [batch], exporters: [otlp]}
    logs: {receivers: [journald], processors: [batch], exporters: [otlp]}
'
file /etc/machine-id 0444 root:root ''
file /etc/systemd/system/lantern-box.service.d/10-otel.conf 0644 root:root '[Service]
EnvironmentFile=-/etc/lantern-box/otel.env
'
file /etc/systemd/system/otelcol-contrib.service.d/10-environment.conf 0644 root:root '[Service]
EnvironmentFile=-/etc/otelcol-contrib/otelcol-contrib.env
'
file /etc/systemd/system/otelcol-contrib.service.d/20-journal.conf 0644 root:root '[Service]
SupplementaryGroups=systemd-journal
'
file /etc/sysctl.d/80-relight-image.conf 0644 root:root 'net.ipv4.tcp_slow_start_after_idle = 0
'
disable lantern-box-update.timer
disable tailscaled.service
mask apt-daily.service
mask apt-daily.timer
mask apt-daily-upgrade.service
mask apt-daily-upgrade.timer
checked sh -c 'mkdir -p /run/sshd && ssh-keygen -A && /usr/sbin/sshd -t'
checked visudo -c -q -f /etc/sudoers.d/90-lantern
purge apt-listchanges needrestart snapd unattended-upgrades lantern-box
no_passwords
remove /etc/cloud/cloud-init.disabled
remove '/etc/cron.*/*lantern*'
remove /etc/hostname
remove '/etc/ssh/ssh_host_*'
remove /etc/sudoers.d/90-cloud-init-users
remove '/home/*/.ssh/authorized_keys'
remove /root/.bash_history
remove /root/.ssh/authorized_keys
remove '/var/cache/apt/archives/*.deb'
remove '/var/lib/cloud/data/*'
remove /var/lib/cloud/instance
remove '/var/lib/cloud/instances/*'
remove '/var/lib/cloud/seed/*'
remove '/var/lib/cloud/sem/*'
remove /var/lib/dbus/machine-id
remove '/var/lib/dhcp/*'
remove /var/lib/systemd/credential.secret
remove /var/lib/systemd/random-seed
remove '/var/log/*.log'
remove '/var/log/apt/*'
remove '/var/log/journal/*'
remove '/tmp/*'
remove '/var/tmp/*'
remove /var/cache/relight-image
file /etc/otelcol-contrib/otelcol-contrib.env 0600 root:root ''
file /etc/lantern-box/otel.env 0600 root:root ''
file /etc/machine-id 0444 root:root ''
file /usr/lib/relight/image-contract 0644 root:root 'b268bd59407d9d0dbac3d79f3f2c11a3de4aaf771e429396f2d38bc6bb48ab29
'
