"""`relight up`: Temporal, a worker and the lab as child processes on this computer."""
