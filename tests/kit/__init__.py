"""What tests share: servers, databases, clients, and the children they start."""
