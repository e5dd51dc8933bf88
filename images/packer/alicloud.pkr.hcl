# Alibaba Cloud: built in one region, copied by Relight (`relight image publish`). The keys come from
# ALICLOUD_ACCESS_KEY and ALICLOUD_SECRET_KEY.

variable "alicloud_region" {
  type    = string
  default = "ap-southeast-1"
}

variable "alicloud_source_image" {
  type    = string
  default = "debian_12_5_x64_20G_alibase_20240419.vhd"
}

variable "alicloud_instance_type" {
  type    = string
  default = "ecs.t6-c1m1.large"
}

source "alicloud-ecs" "base" {
  region                      = var.alicloud_region
  image_name                  = var.image_name
  source_image                = var.alicloud_source_image
  instance_type               = var.alicloud_instance_type
  internet_charge_type        = "PayByTraffic"
  associate_public_ip_address = true
  io_optimized                = true
  skip_image_validation       = true
  ssh_username                = "root"
  tags                        = { "relight-image" = var.image_name }
}
