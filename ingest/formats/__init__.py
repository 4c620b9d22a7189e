"""The prefixes that lines of logs carry, one module for each family of them; `table` lists them all."""
