"""The platform: store, queue, dispatcher, command."""
