"""The stages of the pipeline, each a loop of consume, transform and produce."""
