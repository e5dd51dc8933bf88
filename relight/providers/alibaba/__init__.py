"""The driver of Alibaba Cloud ECS."""
