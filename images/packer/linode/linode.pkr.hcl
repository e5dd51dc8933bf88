# Linode, of which the packer of Debian knows nothing: this template was never validated where Relight
# is tested. `relight image build` and `publish` need no Packer there. The token comes from LINODE_TOKEN.

packer {
  required_plugins {
    linode = {
      source  = "github.com/linode/linode"
      version = ">= 1.6.0"
    }
  }
}

variable "image_name" {
  type = string
}

source "linode" "base" {
  image             = "linode/debian12"
  image_label       = var.image_name
  image_description = "Relight base image"
  instance_type     = "g6-nanode-1"
  region            = "us-east"
  ssh_username      = "root"
}

build {
  sources = ["source.linode.base"]

  provisioner "shell" {
    inline           = ["timeout 600 cloud-init status --wait"]
    valid_exit_codes = [0, 2]
  }

  provisioner "shell" {
    script            = "${path.root}/../../provision.sh"
    execute_command   = "chmod +x {{ .Path }} && sh {{ .Path }}"
    expect_disconnect = true
    skip_clean        = true
  }
}
