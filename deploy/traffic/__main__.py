"""`make traffic` for `make run`: Locust, with its own arguments."""

from deploy import interrupts

if __name__ == "__main__":
    interrupts.end_without_a_word()
    from locust.main import main

    interrupts.end_as_usual()
    main()  # type: ignore[no-untyped-call] # Locust has no types.
