"""/v1/live: WebSocket sessions between a customer and Deepgram."""
