"""Who is told what when a run ends or is late, and how the message gets there."""

__all__ = ["listener", "notices", "outbox"]
