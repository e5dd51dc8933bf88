"""cloud-init user-data: its templates and their rendering."""
