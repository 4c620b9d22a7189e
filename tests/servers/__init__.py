"""Real servers for the tests: from the environment, as containers, or as processes of Maven Central's jars."""
