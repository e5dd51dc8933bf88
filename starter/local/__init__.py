"""`relight up`: Temporal, a worker and the lab as processes on this computer."""
