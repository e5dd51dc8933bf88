"""What people and release automation call: the CLI `relight`, and what it starts."""
