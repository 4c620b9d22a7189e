"""What relight brings for other programs: saved objects for Kibana, as readable sources and what writes them out."""
