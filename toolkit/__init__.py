"""The vocabulary and the live side: messages, order books, protocols, transports."""
