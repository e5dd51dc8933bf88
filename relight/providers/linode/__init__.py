"""The driver of Linode (Akamai)."""
