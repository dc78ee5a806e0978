"""The benchmark's runner: starts servers and the load client, measures, compares."""
