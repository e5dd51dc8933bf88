# One build over several clouds, for those that have a builder and no import: the provision script of the
# contract (../provision.sh) over SSH, on a machine of the distribution's own image. What it makes is
# held to the contract by `relight image verify`, as a disk of `relight image build` is.
#
#   packer build -only='oracle-oci.base' -var image_name=relight-base-0.0.74-arm64 -var-file=oci.hcl .
#
# Its password and key are of this build alone: the script leaves neither in the image.

variable "image_name" {
  type        = string
  description = "The name of the image, as in relight-base-0.0.74-amd64."
}

variable "ssh_username" {
  type    = string
  default = "debian"
}

build {
  sources = [
    "source.null.base",
    "source.qemu.base",
    "source.alicloud-ecs.base",
    "source.oracle-oci.base",
  ]

  # cloud-init installs and writes at a first boot; the script is the only one that does, after it.
  # Exit code 2 is "done, with recoverable errors".
  provisioner "shell" {
    inline           = ["timeout 600 cloud-init status --wait"]
    valid_exit_codes = [0, 2]
  }

  provisioner "shell" {
    script          = "${path.root}/../provision.sh"
    execute_command = "chmod +x {{ .Path }} && sudo -n sh {{ .Path }}"
    # The user, its key and its sudoers file are gone when it ends.
    expect_disconnect = true
    skip_clean        = true
  }
}
