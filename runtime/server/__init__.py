"""The server: an OpenAI-compatible API and a chat page, from a bundle.

service.py      a bundle as a service, put together
app.py          the routes
protocol.py     requests
responses.py    responses
errors.py       error responses
openapi.py      the OpenAPI document
scheduler.py    many replies on one model, in turns
replies.py      a reply in progress
caches.py       KV-cache pool: prefix reuse, LRU
sse.py          server-sent events, and clients that disconnect
middleware.py   outermost ASGI middleware
http_server.py  limits and timeouts of connections
security.py     allowed hosts, origins and keys
metrics.py      metrics for Prometheus
page.html       the chat page
"""
