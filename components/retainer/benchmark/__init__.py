"""Speed and memory beside what users would take instead: whole processes, in turns."""
