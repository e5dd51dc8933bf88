# Oracle Cloud: its login comes from ~/.oci/config.

variable "oci_region" {
  type    = string
  default = "us-ashburn-1"
}

variable "oci_compartment" {
  type    = string
  default = "ocid1.compartment.oc1..example"
}

variable "oci_availability_domain" {
  type    = string
  default = "AD-1"
}

variable "oci_subnet" {
  type    = string
  default = "ocid1.subnet.oc1..example"
}

variable "oci_source_image" {
  type    = string
  default = "ocid1.image.oc1..example"
}

variable "oci_shape" {
  type    = string
  default = "VM.Standard.A1.Flex"
}

variable "oci_config" {
  type    = string
  default = "~/.oci/config"
}

source "oracle-oci" "base" {
  access_cfg_file     = var.oci_config
  region              = var.oci_region
  compartment_ocid    = var.oci_compartment
  availability_domain = var.oci_availability_domain
  subnet_ocid         = var.oci_subnet
  base_image_ocid     = var.oci_source_image
  shape               = var.oci_shape
  image_name          = var.image_name
  ssh_username        = var.ssh_username
  tags                = { "relight-image" = var.image_name }
}
