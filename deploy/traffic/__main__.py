"""`make traffic` for `make run`: Locust, at RATE requests a second, for DURATION. traffic.sh validates both."""

import os
import sys

from deploy import interrupts

USERS = 4
OPTIONS = (
    *("--locustfile", "deploy/traffic/locustfile.py", "--headless", "--only-summary", "--loglevel", "WARNING"),
    # Requests that fail are a result, which is printed, and no failure of this command.
    *("--exit-code-on-error", "0"),
)

if __name__ == "__main__":
    interrupts.exit_silently()
    from locust.main import main

    interrupts.raise_keyboard_interrupt()
    rate, duration = os.environ.get("RATE") or "5", os.environ.get("DURATION") or "30s"
    url = os.environ["TRAFFIC_URL"]
    print(f"Sending {rate} requests a second to `make run` at {url}, for {duration}", flush=True)
    os.environ["TRAFFIC_RATE"] = str(float(rate) / USERS)
    sys.argv[1:] = [*OPTIONS, "--users", str(USERS), "--spawn-rate", str(USERS), "--run-time", duration]
    main()  # type: ignore[no-untyped-call] # Locust has no types.
