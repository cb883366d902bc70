"""One file a command: `add(commands)` declares its arguments, `run(options)` calls the library, prints, returns the exit status."""
