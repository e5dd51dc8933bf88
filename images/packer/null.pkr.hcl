# A machine that is there already: the script alone, for trying it out.

variable "host" {
  type    = string
  default = "127.0.0.1"
}

variable "ssh_private_key_file" {
  type    = string
  default = null
}

source "null" "base" {
  communicator         = "ssh"
  ssh_host             = var.host
  ssh_username         = var.ssh_username
  ssh_private_key_file = var.ssh_private_key_file
  ssh_agent_auth       = var.ssh_private_key_file == null
}
