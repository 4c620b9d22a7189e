"""What people teach relight and what it learns from incidents: it knows the ports, and none of their adapters."""
