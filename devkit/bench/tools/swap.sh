# The whole change as a careful administrator would type it, with apt; "$1" is the version.
set -eu
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
apt-get -q --error-on=any update
apt-get -q -y --no-install-recommends install "lantern-box=$1"
systemctl daemon-reload
systemctl restart lantern-box.service
