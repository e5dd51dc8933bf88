# A disk on this computer, of the distribution's own cloud image.

variable "cloud_image_url" {
  type    = string
  default = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2"
}

variable "cloud_image_checksum" {
  type        = string
  default     = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  description = "Of that image, as sha512:... The default fits none."
}

variable "seed" {
  type        = string
  default     = "seed.img"
  description = "A disk with the label CIDATA, whose user-data lets the SSH agent's key log in."
}

source "qemu" "base" {
  iso_url          = var.cloud_image_url
  iso_checksum     = var.cloud_image_checksum
  disk_image       = true
  format           = "qcow2"
  disk_size        = "3G"
  disk_compression = true
  headless         = true
  vm_name          = "${var.image_name}.qcow2"
  output_directory = "output-${var.image_name}"
  qemuargs         = [["-drive", "file=output-${var.image_name}/${var.image_name}.qcow2,if=virtio"], ["-drive", "file=${var.seed},if=virtio,format=raw"]]
  ssh_username     = var.ssh_username
  ssh_agent_auth   = true
  shutdown_command = "sudo -n poweroff"
}
