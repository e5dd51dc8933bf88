"""What a machine is told at its first boot: cloud-init's user-data and the files in it."""
