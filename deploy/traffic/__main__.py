"""`make traffic` for `make run`: Locust, with its own arguments."""

from deploy import interrupts

if __name__ == "__main__":
    interrupts.exit_silently()
    from locust.main import main

    interrupts.raise_keyboard_interrupt()
    main()  # type: ignore[no-untyped-call] # Locust has no types.
