"""Files of the other tools. They run with their own interpreters and import nothing of Relight."""
