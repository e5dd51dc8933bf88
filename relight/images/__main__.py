"""`python -m relight.images`: print the default contract's script, `images/provision.sh`."""

import sys

from relight.images.contract_file import read_contract
from relight.images.provision import provision_steps

sys.stdout.write(provision_steps(read_contract()))
